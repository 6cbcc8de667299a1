//! Edits by example: what changes, what stays, what is refused and how that is told.

use super::*;

fn file(name: &str) -> RepoPath {
    name.parse().unwrap()
}

fn whole(text: &str) -> Replacement {
    Replacement::Whole(text.parse().unwrap())
}

fn at(path: &str, new: &str) -> Edit {
    Edit::Path { document: None, path: path.parse().unwrap(), new: whole(new) }
}

fn in_document(kind: &str, name: &str, path: &str, new: &str) -> Edit {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let document = DocumentSelector::new(some(kind), some(name));
    Edit::Path { document, path: path.parse().unwrap(), new: whole(new) }
}

fn part(path: &str, new: Replacement) -> Edit {
    Edit::Path { document: None, path: path.parse().unwrap(), new }
}

fn marked(marker: &str, new: &str) -> Edit {
    Edit::Marker { marker: marker.parse().unwrap(), new: whole(new) }
}

fn image(name: &str, new_name: &str, new_tag: &str, digest: &str, create: bool) -> Edit {
    fn parsed<T: FromStr<Err: fmt::Debug>>(text: &str) -> Option<T> {
        (!text.is_empty()).then(|| text.parse().unwrap())
    }
    let set = ImageFields::new(parsed(new_name), parsed(new_tag), parsed(digest)).unwrap();
    Edit::Image { name: name.parse().unwrap(), set, create }
}

fn line(key: &str, new: &str) -> Edit {
    Edit::Line { key: key.parse().unwrap(), new: new.parse().unwrap() }
}

const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SHB: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

#[track_caller]
fn becomes(name: &str, before: &str, edits: &[Edit], after: &str) {
    let edited = edit(&file(name), before.as_bytes(), edits).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(edited.as_deref(), Some(after));
    // What was just written is up to date.
    assert_eq!(edit(&file(name), after.as_bytes(), edits), Ok(None), "a second time");
}

#[track_caller]
fn refused(name: &str, text: &str, edits: &[Edit]) -> String {
    edit(&file(name), text.as_bytes(), edits).expect_err("refused").to_string()
}

#[test]
fn a_scalar_is_replaced_and_no_other_byte() {
    for (case, before, path, new, after) in [
        ("plain", "image:\n  tag: v1\n", "image.tag", "v2", "image:\n  tag: v2\n"),
        ("with a comment", "tag:   v1   # keep me\nx: 1\n", "tag", "v2", "tag:   v2   # keep me\nx: 1\n"),
        ("single quotes", "tag: 'v1' # c\n", "tag", "it's", "tag: 'it''s' # c\n"),
        ("double quotes", "tag: \"v1\"\n", "tag", "a\"b\\c", "tag: \"a\\\"b\\\\c\"\n"),
        ("empty quotes", "tag: \"\"\n", "tag", "v2", "tag: \"v2\"\n"),
        ("a number-like value gets quotes", "tag: v1\n", "tag", "1.10", "tag: \"1.10\"\n"),
        ("an all-digit commit id gets quotes", "tag: a1b2c3d\n", "tag", "12345678", "tag: \"12345678\"\n"),
        ("a float-like commit id gets quotes", "tag: a1b2c3d\n", "tag", "1234e567", "tag: \"1234e567\"\n"),
        ("quotes stay where they are no longer needed", "tag: \"1.10\"\n", "tag", "v2", "tag: \"v2\"\n"),
        ("a number becomes the string", "tag: 1.10\n", "tag", "1.10", "tag: \"1.10\"\n"),
        ("CRLF", "a: 1\r\ntag: v1\r\nb: 2\r\n", "tag", "v2", "a: 1\r\ntag: v2\r\nb: 2\r\n"),
        ("byte order mark", "\u{feff}tag: v1\n", "tag", "v2", "\u{feff}tag: v2\n"),
        ("mark and ---", "\u{feff}---\ntag: v1\n", "tag", "v2", "\u{feff}---\ntag: v2\n"),
        ("no final newline", "tag: v1", "tag", "v2", "tag: v2"),
        ("document marks", "%YAML 1.2\n---\ntag: v1\n...\n", "tag", "v2", "%YAML 1.2\n---\ntag: v2\n...\n"),
        (
            "flow",
            "image: {repository: a/b, tag: v1, x: [1]}\n",
            "image.tag",
            "v2",
            "image: {repository: a/b, tag: v2, x: [1]}\n",
        ),
        ("flow, one that needs quotes there", "{tag: v1}", "tag", "a,b", "{tag: \"a,b\"}"),
        ("an anchor stays", "a: &t v1\nb: *t\n", "a", "v2", "a: &t v2\nb: *t\n"),
        ("a tag stays", "a: !!str v1\nb: !x v1\n", "b", "v2", "a: !!str v1\nb: !x v2\n"),
        ("tag and anchor", "a: !!str &t 'v1'\n", "a", "v2", "a: !!str &t 'v2'\n"),
        (
            "nothing behind the colon",
            "image:\n  tag:\n  x: 1\n",
            "image.tag",
            "v2",
            "image:\n  tag: v2\n  x: 1\n",
        ),
        ("nothing, and a comment", "tag:   # none yet\n", "tag", "v2", "tag: v2   # none yet\n"),
        ("nothing, at the end", "tag:", "tag", "v2", "tag: v2"),
        ("nothing, in flow", "{tag: , a: 1}", "tag", "v2", "{tag: v2 , a: 1}"),
        ("null", "tag: ~\n", "tag", "v2", "tag: v2\n"),
        ("an index", "- a: 1\n- a: v1\n", "[1].a", "v2", "- a: 1\n- a: v2\n"),
        ("a list not indented", "xs:\n- v0\n- v1\n", "xs[1]", "v2", "xs:\n- v0\n- v2\n"),
        (
            "a choice",
            "cs:\n- name: x\n  image: a\n- name: app\n  image: b\n",
            "cs[name=app].image",
            "c",
            "cs:\n- name: x\n  image: a\n- name: app\n  image: c\n",
        ),
        ("a quoted key", "\"a.b\":\n  'c d': v1\n", "\"a.b\".'c d'", "v2", "\"a.b\":\n  'c d': v2\n"),
        ("a key that is a number", "8080: v1\n", "8080", "v2", "8080: v2\n"),
        ("wide characters before it", "ü: 日本\ntag: v1 # ü\n", "tag", "v2", "ü: 日本\ntag: v2 # ü\n"),
        ("a wide value", "tag: 日本\n", "tag", "v2", "tag: v2\n"),
        ("several lines in quotes", "tag: \"a\n  b\"\nx: 1\n", "tag", "v2", "tag: \"v2\"\nx: 1\n"),
        ("several lines, plain", "tag: a\n  b\nx: 1\n", "tag", "v2", "tag: v2\nx: 1\n"),
        ("an explicit key", "? tag\n: v1\n", "tag", "v2", "? tag\n: v2\n"),
        ("tabs after the colon", "tag:\tv1\t# c\n", "tag", "v2", "tag:\tv2\t# c\n"),
        ("beside a block scalar", "a: |\n  tag: v1\ntag: v1\n", "tag", "v2", "a: |\n  tag: v1\ntag: v2\n"),
        (
            "beside a merge key it overrides",
            "b: &b {tag: v0}\na:\n  <<: *b\n  tag: v1\n",
            "a.tag",
            "v2",
            "b: &b {tag: v0}\na:\n  <<: *b\n  tag: v2\n",
        ),
        ("the root itself", "v1\n", "", "", ""),
    ] {
        if path.is_empty() {
            continue;
        }
        println!("{case}");
        becomes("values.yaml", before, &[at(path, new)], after);
    }
}

#[test]
fn many_comments_in_a_row_are_no_trouble() {
    let comments = "# a line of explanation\n".repeat(3000);
    let before = format!("{comments}a:\n{comments}  tag: v1\n{comments}");
    becomes("values.yaml", &before, &[at("a.tag", "v2")], &before.replace("tag: v1", "tag: v2"));
}

#[test]
fn json_stays_json() {
    becomes(
        "package.json",
        "{\n\t\"image\": {\"tag\": \"v1\", \"n\": 1.10, \"u\": \"\\u00fc\\/\"},\r\n\t\"xs\": [\"a\", null]\n}",
        &[at("image.tag", "a\"\\b"), at("xs[1]", "1")],
        "{\n\t\"image\": {\"tag\": \"a\\\"\\\\b\", \"n\": 1.10, \"u\": \"\\u00fc\\/\"},\r\n\t\"xs\": [\"a\", \"1\"]\n}",
    );
    for (text, wanted) in [
        ("{a: 1}", "a.json:1: the file is no JSON: key must be a string at line 1 column 2: mend it"),
        ("{\n  \"a\": \"v1\",\n}", "a.json:3: the file is no JSON: key must be a string at line 3 column 1"),
        ("{\"a\": \"v1\"}\n// c", "a.json:2: the file is no JSON: trailing characters at line 2 column 1"),
        ("", "a.json:1: the file is no JSON: EOF while parsing a value at line 1 column 0"),
    ] {
        let told = refused("a.json", text, &[at("a", "x")]);
        assert!(told.starts_with(wanted), "{text:?}\n  told   {told}\n  wanted {wanted}");
    }
    becomes("a.json", "\u{feff}{\"a\": 1}", &[at("a", "x")], "\u{feff}{\"a\": \"x\"}");
}

#[test]
fn several_edits_are_written_together_or_not_at_all() {
    let before = "a: v1\nb: 'v1'\nc: [v1, v1]\n";
    let edits = [at("c[1]", "v2"), at("a", "v2"), at("b", "v2")];
    becomes("values.yaml", before, &edits, "a: v2\nb: 'v2'\nc: [v1, v2]\n");
    let twice = [at("a", "v2"), at("b", "v2"), at("\"a\"", "v3")];
    assert_eq!(refused("values.yaml", before, &twice), "values.yaml:1: two edits write `a`: keep one");
    let same = [at("a", "v2"), at("a", "v2")];
    assert!(refused("values.yaml", before, &same).contains("two edits"));
    assert_eq!(edit(&file("values.yaml"), before.as_bytes(), &[]), Ok(None));
}

#[test]
fn a_document_is_chosen_by_kind_and_name() {
    let text = "---\n# nothing here\n---\nkind: Service\nmetadata: {name: web}\nspec: {tag: v1}\n---\nkind: Deployment\nmetadata:\n  name: web\nspec: {tag: v1}\n---\nkind: Deployment\nmetadata:\n  name: api\nspec: {tag: v1}\n";
    becomes(
        "all.yaml",
        text,
        &[in_document("Deployment", "web", "spec.tag", "v2")],
        &text.replacen("name: web\nspec: {tag: v1}", "name: web\nspec: {tag: v2}", 1),
    );
    becomes(
        "all.yaml",
        text,
        &[in_document("", "api", "spec.tag", "v2")],
        &text.replace("api\nspec: {tag: v1}", "api\nspec: {tag: v2}"),
    );
    let source_file = file("all.yaml");
    let source = Source::read(&source_file, text.as_bytes()).unwrap();
    let sites = source.locate(&in_document("Deployment", "web", "spec.tag", "v2")).unwrap();
    assert_eq!((sites[0].address.as_str(), sites[0].line), ("Deployment/web:spec.tag", 11));
    for (edit, wanted) in [
        (at("spec.tag", "v2"), "all.yaml: the file has 3 documents"),
        (
            in_document("Deployment", "", "spec.tag", "v2"),
            "all.yaml:13: the documents of line 8 and of this line are both Deployment/*",
        ),
        (
            in_document("Job", "web", "spec.tag", "v2"),
            "all.yaml: no document is Job/web; there are Service/web, Deployment/web, Deployment/api",
        ),
    ] {
        let told = refused("all.yaml", text, &[edit]);
        assert!(told.starts_with(wanted), "{told}");
    }
}

#[test]
fn what_is_not_there_or_not_clear_is_told_by_line() {
    for (text, path, wanted) in [
        (
            "image:\n  repository: a\n  pullPolicy: b\n",
            "image.tag",
            "values.yaml:2: there is no `image.tag`; here are repository, pullPolicy: write the key",
        ),
        ("{}", "a", "values.yaml:1: there is no `a`; here are no keys"),
        ("a: [x]\n", "a[1]", "values.yaml:1: there is no `a[1]`; the list has 1 items"),
        ("a:\n- name: x\n", "a[name=y].b", "values.yaml:2: there is no `a[name=y]`; the list has 1 items"),
        (
            "a:\n- name: x\n- name: x\n",
            "a[name=x].b",
            "values.yaml:3: `a[name=x]` is this item and the one of line 2",
        ),
        ("a: b\n", "a.b", "values.yaml:1: `a` is a scalar, not a mapping"),
        ("a: {b: c}\n", "a[0]", "values.yaml:1: `a` is a mapping, not a list"),
        ("- a\n", "a", "values.yaml:1: `the document` is a list, not a mapping"),
        ("a:\n  b: 1\n", "a", "values.yaml:2: `a` is a mapping: name the scalar in it"),
        ("tag: a\nb: 1\ntag: c\n", "tag", "values.yaml:3: `tag` stands here and in line 1: remove one"),
        (
            "x: 1\na: &b\n  tag: v1\nc: *b\n",
            "c.tag",
            "values.yaml:4: `c` is an alias of the node of line 3: edit it there",
        ),
        ("a: &t v1\nb: *t\n", "b", "values.yaml:2: `b` is an alias of the node of line 1"),
        ("b: &b\n  tag: v0\na:\n  <<: *b\n", "a.tag", "values.yaml:4: `a.tag` comes by `<<` from line 2"),
        (
            "b: &b {x: {tag: v0}}\nc: &c {<<: *b}\na:\n  <<: [*c]\n  y: 1\n",
            "a.x",
            "values.yaml:4: `a.x` comes by `<<` from line 1",
        ),
        ("b: &b {<<: *b}\n", "b.x", "values.yaml:1: there is no `b.x`"),
        ("a:\n  tag: |\n    v1\n", "a.tag", "values.yaml:2: the value is a block scalar"),
        ("tag: >-\n  v1\n", "tag", "values.yaml:1: the value is a block scalar"),
        ("tag: !!int 3\n", "tag", "values.yaml:1: the value is tagged !!int"),
        ("tag: &a\nb: 1\n", "tag", "values.yaml:1: the value is empty here"),
        ("xs:\n-\n- b\n", "xs[0]", "values.yaml:2: the value is empty here"),
        ("a: b: c\n", "a", "values.yaml:1: the file cannot be parsed"),
        ("a: {{ .Values.tag }}\n", "b", "values.yaml:1: "),
        ("", "a", "values.yaml: the file is empty"),
        ("# only a comment\n", "a", "values.yaml: the file is empty"),
    ] {
        let told = refused("values.yaml", text, &[at(path, "v2")]);
        assert!(told.starts_with(wanted), "{text:?}\n  told   {told}\n  wanted {wanted}");
    }
    let bad = edit(&file("v.yaml"), b"a: 1\nb: \xff\n", &[at("a", "x")]).unwrap_err();
    assert_eq!(bad.to_string(), "v.yaml:2: the file is not UTF-8 text: store it as UTF-8");
    let large = vec![b'#'; MAX_FILE + 1];
    assert!(matches!(edit(&file("v.yaml"), &large, &[]).unwrap_err().why, Why::TooLarge(_)));
}

/// libyaml and Go's yaml, v2 and v3, were asked for each of these: they refuse what is refused here, had it been
/// written, and read the others.
#[test]
fn quotes_are_not_put_above_a_line_of_a_tab() {
    for text in ["z.: 1&;;;# :0?\r \t", "z.: v1\n \t\nb: 1\n", "z.: v1 \n\n  \t# c\nb: 1\n"] {
        let z = |new: &str| Edit::Path {
            document: None,
            path: Path::new(vec![Step::Key("z.".into())]).unwrap(),
            new: whole(new),
        };
        let told = refused("values.yaml", text, &[z("1.10")]);
        assert!(told.starts_with("values.yaml:1: the new value needs quotes, and a line below"), "{told}");
        let plain = edit(&file("values.yaml"), text.as_bytes(), &[z("v2")]).unwrap().unwrap();
        assert!(plain.starts_with("z.: v2"), "{plain}");
    }
    let list = "xs:\n- v1\n  \t\n- v2\n";
    assert!(refused("values.yaml", list, &[at("xs[0]", "1.10")]).starts_with("values.yaml:2: the new value"));
    becomes("values.yaml", list, &[at("xs[1]", "1.10")], "xs:\n- v1\n  \t\n- \"1.10\"\n");
    becomes("values.yaml", "a: v1\t\nb: 1\n", &[at("a", "1.10")], "a: \"1.10\"\t\nb: 1\n");
    becomes("values.yaml", "a: {b: v1\n \t\n}\n", &[at("a.b", "1.10")], "a: {b: \"1.10\"\n \t\n}\n");
    let kustomization = "images:\n- name: a\n    \t\nx: 1\n";
    let told = refused("kustomization.yaml", kustomization, &[image("a", "", "1.10", "", true)]);
    assert!(told.starts_with("kustomization.yaml:2: the new value needs quotes"), "{told}");
    becomes(
        "kustomization.yaml",
        kustomization,
        &[image("a", "", "v2", "", true)],
        "images:\n- name: a\n  newTag: v2\n    \t\nx: 1\n",
    );
}

#[test]
fn a_part_of_an_image_is_replaced() {
    let (sha, shb) = (SHA.parse().unwrap(), SHB.parse().unwrap());
    let tag = |text: &str, digest| Replacement::Tag(text.parse().unwrap(), digest);
    let name: ImageName = "ghcr.io/a/c".parse().unwrap();
    for (before, new, after) in [
        ("nginx:1", tag("2", None), "nginx:2".to_owned()),
        ("nginx", tag("2", None), "nginx:2".into()),
        ("localhost:5000/a/b", tag("v2", None), "localhost:5000/a/b:v2".into()),
        (&format!("a/b:v1@{SHA}"), tag("v2", None), "a/b:v2".into()),
        (&format!("a/b:v1@{SHA}"), tag("v2", Some(shb)), format!("a/b:v2@{SHB}")),
        (&format!("a/b:v1@{SHB}"), Replacement::Digest(sha), format!("a/b:v1@{SHA}")),
        (&format!("a/b:v1@{SHB}"), Replacement::Name(name), format!("ghcr.io/a/c:v1@{SHB}")),
    ] {
        for (open, close) in [("", ""), ("'", "'"), ("\"", "\"")] {
            becomes(
                "d.yaml",
                &format!("image: {open}{before}{close} # c\n"),
                &[part("image", new.clone())],
                &format!("image: {open}{after}{close} # c\n"),
            );
        }
    }
    let told = refused("d.yaml", "image: Not An Image\n", &[part("image", tag("v2", None))]);
    assert!(told.starts_with("d.yaml:1: the value `Not An Image` is no image reference"), "{told}");
}

#[test]
fn a_marker_finds_the_value_on_its_line() {
    becomes(
        "d.yaml",
        "a:\n  image: x:1 # pipekick: app\n  tag: \"1\"   #pipekick:  app:tag  \n  name: x # pipekick: app:name\n- []: 1\n".trim_end_matches("- []: 1\n"),
        &[marked("app", "x:2"), marked("app:tag", "2"), marked("app:name", "web")],
        "a:\n  image: x:2 # pipekick: app\n  tag: \"2\"   #pipekick:  app:tag  \n  name: web # pipekick: app:name\n",
    );
    becomes(
        "d.yaml",
        "spec:\n  image: ghcr.io/a/b:v1 # {\"$imagepolicy\": \"flux-system:b\"}\n  tag: v1 # {\"$imagepolicy\": \"flux-system:b:tag\"}\n",
        &[marked("flux-system:b", "ghcr.io/a/b:v2"), marked("flux-system:b:tag", "v2")],
        "spec:\n  image: ghcr.io/a/b:v2 # {\"$imagepolicy\": \"flux-system:b\"}\n  tag: v2 # {\"$imagepolicy\": \"flux-system:b:tag\"}\n",
    );
    // Every line that carries it, in every document.
    becomes(
        "d.yaml",
        "a: v1 # pipekick: t\n---\nxs:\n- v1 # pipekick: t\n- {k: v1} # pipekick: t\n",
        &[marked("t", "v2")],
        "a: v2 # pipekick: t\n---\nxs:\n- v2 # pipekick: t\n- {k: v2} # pipekick: t\n",
    );
    for (text, edit, wanted) in [
        ("a: v1 # pipekick: t2\n", marked("t", "v2"), "d.yaml: no line is marked `# pipekick: t`"),
        ("a: 'v1 # pipekick: t'\n", marked("t", "v2"), "d.yaml: no line is marked"),
        (
            "a: # pipekick: t\n  b: v1\n",
            marked("t", "v2"),
            "d.yaml:1: the line is marked `t`, but it has no value",
        ),
        (
            "# pipekick: t\na: v1\n",
            marked("t", "v2"),
            "d.yaml:1: the line is marked `t`, but it has no value",
        ),
        (
            "a: {b: v1, c: v1} # pipekick: t\n",
            marked("t", "v2"),
            "d.yaml:1: the line is marked `t`, but it has several values",
        ),
        (
            "a: &x v1\nb: *x # pipekick: t\n",
            marked("t", "v2"),
            "d.yaml:2: the line is marked `t`, but its value is an alias",
        ),
        ("a: | # pipekick: t\n  v1\n", marked("t", "v2"), "d.yaml:1: the value is a block scalar"),
        (
            "a: x:1 # pipekick: t:tag\n",
            marked("t:tag", "v2"),
            "d.yaml:1: the value `x:1` is marked `:tag`, but is more than a tag",
        ),
        (
            "a: v1 # pipekick: t:tag\n",
            marked("t:tag", "a b"),
            "d.yaml:1: the value `v1` is marked `:tag`, and the new value is no image tag",
        ),
        (
            "a: x:1 # {\"$imagepolicy\": \"n:p\"}\n",
            marked("n:p", "A B"),
            "d.yaml:1: the value `x:1` is marked by Flux for a whole image",
        ),
        (
            "a: x:1 # {\"$imagepolicy\": \"n:p\"}\n",
            marked("n:p", "v2"),
            "d.yaml:1: the value `x:1` is marked by Flux for a whole image, and the new value has no tag or digest",
        ),
        ("{\"a\": \"v1\"}", marked("t", "v2"), "d.yaml: no line is marked"),
    ] {
        let told = refused("d.yaml", text, &[edit]);
        assert!(told.starts_with(wanted), "{text:?}\n  told   {told}\n  wanted {wanted}");
    }
    assert!(refused("d.json", "{\"a\": \"v1\"}", &[marked("t", "v2")]).contains("JSON has no comments"));
    let many = "- v1 # pipekick: t\n".repeat(101);
    assert!(refused("d.yaml", &many, &[marked("t", "v2")]).contains("more than 100 lines"));
}

#[test]
fn an_image_of_a_kustomization_is_set() {
    let before = "resources: [x.yaml]\nimages:\n- name: a/b\n  newTag: v1 # now\n- name: a/c\n  newName: x/c\n  digest: D\npatches: []\n"
        .replace('D', SHA);
    becomes(
        "k.yaml",
        &before,
        &[image("a/b", "", "1.10", "", false)],
        &before.replace("v1 # now", "\"1.10\" # now"),
    );
    becomes(
        "k.yaml",
        &before,
        &[image("a/c", "y/c", "", SHB, false), image("a/b", "", "v2", "", false)],
        &before.replace("x/c", "y/c").replace(SHA, SHB).replace("v1 # now", "v2 # now"),
    );
    for (edit, wanted) in [
        (
            image("a/d", "", "v2", "", false),
            "k.yaml:3: `images` has no entry for a/d: add one, or set `create: true`",
        ),
        (
            image("a/b", "", "", SHA, false),
            "k.yaml:3: the entry for a/b has no `digest`: add it, or set `create: true`",
        ),
        (
            image("a/c", "", "v2", "", true),
            "k.yaml:7: the entry for a/c has a `digest`, which decides what runs",
        ),
    ] {
        let told = refused("k.yaml", &before, &[edit]);
        assert!(told.starts_with(wanted), "{told}");
    }
    let twice = "images:\n- {name: a, newTag: x}\n- {name: a, newTag: y}\n";
    assert!(refused("k.yaml", twice, &[image("a", "", "v2", "", true)]).contains("and the one of line 2"));
    assert!(refused("k.yaml", "a: 1\n", &[image("a", "", "v2", "", false)]).contains("has no entry for a"));
    let alias = "x: &x\n- {name: a, newTag: v1}\nimages: *x\n";
    assert!(
        refused("k.yaml", alias, &[image("a", "", "v2", "", false)])
            .contains("is an alias of the node of line 2")
    );
}

#[test]
fn what_a_kustomization_lacks_is_added_where_the_edit_says_so() {
    let add = |name: &str, tag: &str| image(name, "", tag, "", true);
    for (case, before, edits, after) in [
        (
            "an entry behind the last",
            "images:\n- name: a\n  newTag: v1 # c\n# more\nx: 1\n",
            vec![add("b", "v2")],
            "images:\n- name: a\n  newTag: v1 # c\n- name: b\n  newTag: v2\n# more\nx: 1\n",
        ),
        (
            "two, indented, CRLF",
            "images:\r\n  - name: a\r\n    newTag: v1\r\nx: 1\r\n",
            vec![add("b", "1.0"), add("c", "v3")],
            "images:\r\n  - name: a\r\n    newTag: v1\r\n  - name: b\r\n    newTag: \"1.0\"\r\n  - name: c\r\n    newTag: v3\r\nx: 1\r\n",
        ),
        (
            "no final newline",
            "images:\n- name: a",
            vec![add("b", "v2")],
            "images:\n- name: a\n- name: b\n  newTag: v2",
        ),
        (
            "an empty list",
            "images: [] # none\n",
            vec![add("a", "v1"), add("b", "v2")],
            "images: [{name: a, newTag: v1}, {name: b, newTag: v2}] # none\n",
        ),
        (
            "a list in one line",
            "images: [{name: a, newTag: v1}]\n",
            vec![add("b", "v2")],
            "images: [{name: a, newTag: v1}, {name: b, newTag: v2}]\n",
        ),
        (
            "nothing behind the colon",
            "images: # none\nx: 1\n",
            vec![add("a", "v1"), add("b", "v2")],
            "images: # none\n- name: a\n  newTag: v1\n- name: b\n  newTag: v2\nx: 1\n",
        ),
        (
            "no such key",
            "kind: Kustomization\n",
            vec![add("a", "v1"), add("b", "v2")],
            "kind: Kustomization\nimages:\n- name: a\n  newTag: v1\n- name: b\n  newTag: v2\n",
        ),
        (
            "no such key, no final newline",
            "kind: Kustomization",
            vec![add("a", "v1")],
            "kind: Kustomization\nimages:\n- name: a\n  newTag: v1",
        ),
        (
            "no such key, behind a block scalar",
            "kind: Kustomization\npatches:\n- patch: |-\n    - op: x\n# end\n",
            vec![add("a", "v1")],
            "kind: Kustomization\npatches:\n- patch: |-\n    - op: x\n# end\nimages:\n- name: a\n  newTag: v1\n",
        ),
        (
            "a key",
            "images:\n- newName: x # c\n  name: a # d\nx: 1\n",
            vec![add("a", "v1")],
            "images:\n- newName: x # c\n  name: a # d\n  newTag: v1\nx: 1\n",
        ),
        (
            "a key, in flow",
            "images: [{name: a}]\n",
            vec![add("a", "v1")],
            "images: [{name: a, newTag: v1}]\n",
        ),
    ] {
        println!("{case}");
        becomes("kustomization.yaml", before, &edits, after);
    }
    becomes(
        "kustomization.yaml",
        "images:\n- name: a\n  newTag: v1\n",
        &[image("a", "b/c", "v2", SHA, true)],
        &format!("images:\n- name: a\n  newName: b/c\n  digest: {SHA}\n  newTag: v2\n"),
    );
    for (text, wanted) in [
        ("images:\n- name: a\n  x: |\n    y\n", "nothing can be added to `images`"),
        ("images: x\n", "`images` is a scalar, not a list"),
        ("{a: 1}", "nothing can be added to the file"),
        ("a: 1\n...\n", "nothing can be added to the file"),
        ("a: 1\n# ...\n", ""),
        ("a: |+\n  x\n\n", ""),
    ] {
        match edit(&file("kustomization.yaml"), text.as_bytes(), &[add("b", "v2")]) {
            Err(refusal) => {
                assert!(!wanted.is_empty() && refusal.to_string().contains(wanted), "{text:?}: {refusal}");
            }
            Ok(edited) => assert!(wanted.is_empty(), "{text:?}: {edited:?}"),
        }
    }
    let same = [add("b", "v2"), add("b", "v3")];
    assert!(
        refused("kustomization.yaml", "images: []\n", &same).contains("two edits write `images[name=b]`")
    );
}

#[test]
fn a_line_of_an_env_file_is_set() {
    for (case, before, new, after) in [
        ("bare", "# c\nA=1\nTAG=v1\nB=2\n", "v2", "# c\nA=1\nTAG=v2\nB=2\n"),
        ("quoted", "TAG=\"v1\" # c\n", "a b", "TAG=\"a b\" # c\n"),
        ("single quotes, export, blanks", "  export TAG = 'v1'\r\n", "v2", "  export TAG = 'v2'\r\n"),
        ("a comment", "TAG=v1 # TAG=x\n", "v2", "TAG=v2 # TAG=x\n"),
        ("empty, no final newline", "A=\nTAG=", "v2", "A=\nTAG=v2"),
        ("not inside another's quotes", "A=\"x\nTAG=no\n\"\nTAG=v1\n", "v2", "A=\"x\nTAG=no\n\"\nTAG=v2\n"),
        ("a mark", "\u{feff}TAG=v1", "x=y", "\u{feff}TAG=x=y"),
        ("longer keys are others", "TAGS=v1\nMY_TAG=v1\nTAG=v1\n", "v2", "TAGS=v1\nMY_TAG=v1\nTAG=v2\n"),
    ] {
        println!("{case}");
        becomes("deploy.env", before, &[line("TAG", new)], after);
    }
    for (text, new, wanted) in [
        ("A=1\n", "v2", "deploy.env: no line begins `TAG=`"),
        ("TAG=a\nTAG=b\n", "v2", "deploy.env:2: `TAG=` stands here and in line 1"),
        ("TAG=\"a\nb\"\n", "v2", "deploy.env:1: the value does not end on its line"),
        ("TAG=\"a\"b\n", "v2", "deploy.env:1: the value does not end on its line, or something follows"),
        ("TAG=a\\\nb\n", "v2", "deploy.env:1: the value does not end on its line"),
        ("TAG=a\"b\nc\"\n", "v2", "deploy.env:1: the value does not end on its line"),
        ("TAG=a\n", "a b", "deploy.env:1: the new value has ' '"),
        ("TAG=\"a\"\n", "$x", "deploy.env:1: the new value has '$'"),
        ("TAG='a'\n", "it's", "deploy.env:1: the new value has '\\''"),
    ] {
        let told = refused("deploy.env", text, &[line("TAG", new)]);
        assert!(told.starts_with(wanted), "{text:?}\n  told   {told}\n  wanted {wanted}");
    }
    assert!(refused("deploy.env", "TAG=a\n", &[at("TAG", "b")]).contains("use `line`"));
    assert!(refused("deploy.yaml", "TAG: a\n", &[line("TAG", "b")]).contains("use `path`"));
}

#[test]
fn an_address_does_not_depend_on_how_the_edit_spelled_it() {
    let text = "kind: Deployment\nmetadata: {name: web}\nspec:\n  containers:\n  - name: x\n    image: a:1 # pipekick: t\n  - image: b:1\n  - name: \"y\"\n    \"a.b\": c\n";
    let (name, address) = (file("d.yaml"), "Deployment/web:spec.containers[name=x].image");
    let source = Source::read(&name, text.as_bytes()).unwrap();
    for edit in [
        at("spec.containers[0].image", "a:2"),
        at("\"spec\".containers[image=\"a:1\"].image", "a:2"),
        in_document("Deployment", "web", "spec.containers[name=x].image", "a:2"),
        marked("t", "a:2"),
    ] {
        assert_eq!(source.locate(&edit).unwrap()[0].address, address);
    }
    let of = |edit| source.locate(&edit).unwrap()[0].address.clone();
    assert_eq!(of(at("spec.containers[1].image", "b")), "Deployment/web:spec.containers[1].image");
    assert_eq!(of(at("spec.containers[2].\"a.b\"", "b")), "Deployment/web:spec.containers[name=y].\"a.b\"");
}

#[test]
fn what_is_pointed_at_has_the_address_that_an_edit_of_it_has() {
    let marker = |marker: &str| Spot::Marker(marker.parse().unwrap());
    let path = |path: &str| Spot::Path { document: None, path: path.parse().unwrap() };
    let image = |name: &str, key| Spot::Image { name: name.parse().unwrap(), key };
    let key = |key: &str| Spot::Line(key.parse().unwrap());
    let text = "images:\n- name: a # pipekick: t\n  newTag: v1 # pipekick: t\n- &b {name: b}\nx: *b\n";
    let env = "# TAG=v0\nTAG=v1\n";
    for (name, text, spot, addresses) in [
        ("a.yaml", text, path("images[0].newTag"), &["images[name=a].newTag"][..]),
        ("a.yaml", text, marker("t"), &["images[name=a].name", "images[name=a].newTag"]),
        ("a.yaml", text, image("a", "newTag"), &["images[name=a].newTag"]),
        ("a.yaml", text, image("b", "newTag"), &["images[name=b].newTag"]),
        ("a.yaml", text, image("c", "newTag"), &[]),
        ("a.yaml", text, path("x.name"), &[]),
        ("a.yaml", text, path("nope"), &[]),
        ("a.yaml", text, key("TAG"), &[]),
        ("a.yaml", "a: [", path("a"), &[]),
        ("a.env", env, key("TAG"), &["TAG"]),
        ("a.env", env, key("A"), &[]),
        ("a.env", env, path("TAG"), &[]),
    ] {
        let name = file(name);
        let source = Source::read(&name, text.as_bytes()).unwrap();
        assert_eq!(source.addresses(&spot), addresses, "{spot:?}");
    }
    // As one that is added has it.
    let name = file("a.yaml");
    let source = Source::read(&name, text.as_bytes()).unwrap();
    let added = Edit::Image {
        name: "b".parse().unwrap(),
        set: ImageFields::new(None, Some("v2".parse().unwrap()), None).unwrap(),
        create: true,
    };
    let addresses: Vec<String> =
        source.locate(&added).unwrap().into_iter().map(|site| site.address).collect();
    assert_eq!(addresses, source.addresses(&image("b", "newTag")));
}

#[test]
fn markers_are_words() {
    for good in ["a", "a:tag", "flux-system:app:tag", "shop/app", "a.b_c"] {
        assert!(good.parse::<Marker>().is_ok(), "{good}");
    }
    for bad in ["", "a:", ":a", "a:b:c:d", "a b", "a\n", "ä", "{\"x\"}"] {
        assert!(bad.parse::<Marker>().is_err(), "{bad}");
    }
    assert_eq!("a:b:digest".parse::<Marker>().unwrap().value(), MarkedValue::Digest);
    assert_eq!("tag".parse::<Marker>().unwrap().value(), MarkedValue::Whole);
}
