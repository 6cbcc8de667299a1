//! The table of answers. Handlers answer only through it; a test reaches every row over HTTP.
//! Each row names the line of the facts page it rests on and that line's mark; rows marked `K` are
//! unverified, rows marked `F` are faults on request. A row nobody can reach is deleted.

use super::{
    entity::{
        BRANCH, BRIDGE, COMMIT, COMMIT_DETAIL, COMPARISON, FILE, JOB, MERGE_REQUEST, METADATA, PIPELINE,
        PIPELINE_BASIC, PIPELINE_ITEM, PIPELINE_SINGLE, PROJECT, SCHEDULE, SCHEDULE_DETAILS, TEST_REPORT,
        TEST_SUMMARY, USER, VARIABLE, VERSION,
    },
    row::{
        Body::{
            Attribute, Base, Empty, Entity, Error, Html, List, Listed, Message, Nested, OAuth, Raw, Text,
            Twice,
        },
        Mark::{D, F, K, S, X},
        Row,
    },
};

const PAGED: &[&str] = &["X-Page", "X-Per-Page", "X-Next-Page", "X-Prev-Page", "Link"];

const OF_FILE: &[&str] = &[
    "X-Gitlab-File-Name",
    "X-Gitlab-File-Path",
    "X-Gitlab-Size",
    "X-Gitlab-Encoding",
    "X-Gitlab-Content-Sha256",
    "X-Gitlab-Ref",
    "X-Gitlab-Blob-Id",
    "X-Gitlab-Commit-Id",
    "X-Gitlab-Last-Commit-Id",
    "X-Gitlab-Execute-Filemode",
];

macro_rules! rows {
    ($($name:ident $mark:ident $route:literal $status:literal $body:expr, $headers:expr;
        $condition:literal; $facts:literal)*) => {
        $(pub(crate) static $name: Row = Row {
            name: stringify!($name), route: $route, condition: $condition, status: $status,
            body: $body, headers: $headers, facts: $facts, mark: $mark,
        };)*
        /// The whole table.
        pub static ALL: &[&Row] = &[$(&$name),*];
    };
}

rows! {
    // In front of every route.
    SITE_NOT_FOUND K "*" 404 Html("<html><body><h1>404: Page not found</h1></body></html>"), &[];
        "a path outside /api"; "error families: HTML"
    API_V3_GONE S "*" 410 Error("API V3 is no longer supported. Use API V4 instead."), &[];
        "prefix /api/v3"; "error families: v3 prefix"
    NOT_ROUTED K "*" 404 Error("404 Not Found"), &[];
        "no such route"; "error families: Grape errors"
    METHOD_NOT_ALLOWED K "*" 405 Error("405 Not Allowed"), &[];
        "the path exists for other methods"; "error families: Grape errors"
    BODY_NOT_JSON K "*" 400 Error("message body does not match declared format"), &[];
        "declared JSON does not parse"; "error families: Grape errors"
    BODY_NOT_SUPPORTED K "*" 415 Error("The provided content-type is not supported."), &[];
        "a body that is neither JSON nor a form"; "error families: Grape errors"
    THROTTLED S "*" 429 Text("Retry later"),
        &["Retry-After", "RateLimit-Limit", "RateLimit-Observed", "RateLimit-Remaining", "RateLimit-Reset",
          "RateLimit-ResetTime", "RateLimit-Name"];
        "a throttle's window is used up"; "6 headers, throttled answer, fixed windows"
    APPLICATION_LIMITED K "*" 429
        Nested("This endpoint has been requested too many times. Try again later."), &[];
        "the application limiter's minute is used up"; "6 application limiter"

    // Credentials and visibility.
    UNAUTHORIZED S "*" 401 Message("401 Unauthorized"), &[];
        "no token where one is needed, or an unknown one"; "5 none/unknown PRIVATE-TOKEN"
    BEARER_UNKNOWN X "*" 401 OAuth("invalid_token", "Bad Access Token."), &[];
        "an unknown bearer token"; "5 unknown bearer"
    TOKEN_EXPIRED X "*" 401
        OAuth("invalid_token", "Token is expired. You can either do re-authorization or token refresh."), &[];
        "an expired access token"; "5 expired"
    TOKEN_REVOKED X "*" 401
        OAuth("invalid_token", "Token was revoked. You have to re-authorize from the user."), &[];
        "a revoked access token"; "5 revoked"
    SCOPE_TOO_SMALL K "*" 403
        OAuth("insufficient_scope", "The request requires higher privileges than provided by the access token."),
        &[]; "the token's scopes do not cover the route"; "5 scope too small"
    USER_BLOCKED K "*" 403 Message("403 Forbidden - Your account has been blocked."), &[];
        "the token's user is blocked"; "5 blocked user"
    PROJECT_NOT_FOUND S "*" 404 Message("404 Project Not Found"), &[];
        "unknown project, or one the caller cannot see"; "5 visibility rule; 2.3 single"
    PROJECT_MOVED K "*" 301 Text("This resource has been moved permanently to {}"), &["Location"];
        "GET by a former path"; "5 renamed/moved paths"
    PROJECT_MOVED_WRITE K "*" 405
        Message("405 Method Not Allowed - Non GET methods are not allowed for moved projects"), &[];
        "a write by a former path"; "5 renamed/moved paths"
    FORBIDDEN S "*" 403 Message("403 Forbidden"), &[];
        "the project is readable, the ability is missing"; "5 visibility rule"
    NOT_FOUND_BY_ID K "*" 404 Message("404 Not found"), &[];
        "unknown pipeline id: the small f"; "2.3 single; helper texts, two spellings"

    // Trigger, in the order of its checks.
    TRIGGER_TOKEN_MISSING K "trigger" 400 Error("token is missing"), &[];
        "no token"; "1.2 check 1"
    TRIGGER_REF_MISSING K "trigger" 400 Error("ref is missing"), &[];
        "no ref, neither in the path nor elsewhere"; "1.2 check 1"
    TRIGGER_REF_EMPTY K "trigger" 400 Error("ref is empty"), &[];
        "a blank ref"; "1.2 check 1"
    TRIGGER_VARIABLES_INVALID S "trigger" 400 Error("variables is invalid"), &[];
        "variables is not a map"; "1.2 check 1"
    TRIGGER_INPUTS_INVALID K "trigger" 400 Error("inputs is invalid"), &[];
        "inputs is not a map"; "1.2 check 1, by analogy"
    TRIGGER_SEVERAL_INVALID S "trigger" 400 Error("{}"), &[];
        "several parameters are wrong, joined by a comma"; "error families: parameter validation"
    TRIGGER_LOOP S "trigger" 403 Message("403 Forbidden"), &[];
        "X-Gitlab-Event: Pipeline Hook"; "1.2 check 2"
    TRIGGER_VARIABLES_NOT_STRINGS S "trigger" 400
        Message("variables needs to be a map of key-valued strings"), &[];
        "a variable's value is no string"; "1.2 check 3"
    TRIGGER_PROJECT_NOT_FOUND S "trigger" 404 Message("404 Not Found"), &[];
        "unknown project: without the word Project"; "1.2 check 4"
    TRIGGER_TOKEN_UNKNOWN S "trigger" 404 Message("404 Not Found"), &[];
        "unknown token, or another project's: never 401 or 403"; "1.2 check 5"
    TRIGGER_TOKEN_EXPIRED K "trigger" 404 Message("404 Not Found"), &[];
        "an expired trigger token"; "1.6 expired token; 12 open point"
    TRIGGER_JOB_NOT_RUNNING S "trigger" 401 Message("Job is not running"), &[];
        "the token of a job that has ended"; "1.2 check 6"
    TRIGGER_JOB_ERASED S "trigger" 401 Message("Job has been erased!"), &[];
        "the token of an erased job"; "1.2 check 6"
    TRIGGER_JOB_PROJECT_DELETED S "trigger" 401 Message("Project has been deleted!"), &[];
        "the job's project is gone"; "1.2 check 6"
    TRIGGER_JOB_TOKEN_EXPIRED S "trigger" 401 Message("Job token has expired"), &[];
        "an expired job token"; "1.2 check 6, 2026 copy"
    TRIGGER_JOB_SEES_NOTHING S "trigger" 404 Message("404 Not Found"), &[];
        "the job's user cannot read the project"; "1.2 check 6"
    TRIGGER_CREATED S "trigger" 201 Entity(PIPELINE), &[];
        "a pipeline was created"; "1.5 response"
    TRIGGER_STORED_FAILED D "trigger" 422 Base("{}"), &[];
        "the chain failed and the failed pipeline is kept, 17 and later"; "1.2 result mapping; 1.3 stored"
    TRIGGER_STORED_FAILED_OLD S "trigger" 201 Entity(PIPELINE), &[];
        "the same before 17: status is failed"; "1.2 result mapping, older copy"

    // The creation chain, in its order; both create routes.
    CHAIN_PIPELINES_DISABLED S "trigger create" 400 Base("Pipelines are disabled!"), &[];
        "CI is off"; "1.3 abilities"
    CHAIN_NO_PERMISSION S "trigger create" 400
        Base("Insufficient permissions to create a new pipeline"), &[];
        "the user is blocked or less than Developer"; "1.3 abilities"
    CHAIN_REF_PROTECTED S "trigger create" 400
        Base("You do not have sufficient permission to run a pipeline on '{}'. Please select a different \
              branch or contact your administrator for assistance. Learn more"), &[];
        "the ref is protected against the user"; "1.3 protected branch or tag"
    CHAIN_REF_AMBIGUOUS S "trigger create" 400 Base("Ref is ambiguous"), &[];
        "a branch and a tag have this name"; "1.3 repository"
    CHAIN_REF_NOT_FOUND S "trigger create" 400 Base("Reference not found"), &[];
        "no such branch or tag; a commit SHA"; "1.3 repository"
    CHAIN_VARIABLES_RESTRICTED S "trigger create" 400
        Base("Insufficient permissions to set pipeline variables"), &[];
        "the user's role is below the least role for variables; TRIGGER_PAYLOAD counts"; "1.3 associations; 1.4"
    CHAIN_RATE_LIMITED S "trigger create" 400
        Base("Too many pipelines created in the last minute. Try again later."), &[];
        "the pipeline creation limit, without Retry-After"; "1.3 rate limit; 6 pipeline creation limit"
    CHAIN_CI_MISSING K "trigger create" 400 Base("Missing CI config file"), &[];
        "no CI file"; "1.3 config process"
    CHAIN_FILTERED S "trigger create" 400
        Base("The pipeline did not run. Review the workflow:rules configuration for the pipeline."), &[];
        "workflow rules say no"; "1.3 workflow rules"
    CHAIN_FILTERED_OLD S "trigger create" 400 Base("Pipeline filtered out by workflow rules."), &[];
        "the same before 17"; "1.3 wordings by age"
    CHAIN_EMPTY S "trigger create" 400
        Base("The resulting pipeline would have been empty. Review the rules configuration for the relevant jobs."),
        &[]; "no job's rules match"; "1.3 populate"
    CHAIN_BAD_KEY K "trigger create" 400 Base("Failed to persist the pipeline: {}"), &[];
        "a variable's key is not a word of at most 255 characters"; "1.3 bad key name; 9 key"
    INPUTS_DROPPED S "trigger create" 201 Entity(PIPELINE), &[];
        "inputs given to a version before 17.11: dropped without a word"; "1.1 inputs; versions by GitLab's docs"
    CREATE_CONFIG_ERROR S "create" 400 Base("{}"), &[];
        "duplicate variables, YAML, inputs or size: nothing is stored"; "2.4 create"
    CREATE_VARIABLES_INVALID S "create" 400 Error("variables is invalid"), &[];
        "variables is not an array"; "2.4 create; 11.7"
    CREATE_TYPE_INVALID K "create" 400 Error("variables[0][variable_type] does not have a valid value"), &[];
        "a type other than env_var and file"; "2.2 out-of-set values, by analogy"
    CREATE_INPUTS_INVALID K "create" 400 Error("inputs is invalid"), &[];
        "inputs is not a map"; "1.2 check 1, by analogy"
    CREATE_REF_MISSING K "create" 400 Error("ref is missing"), &[];
        "no ref"; "1.2 check 1, by analogy"
    CREATED S "create" 201 Entity(PIPELINE), &[];
        "a pipeline was created"; "2.4 create"

    // Pipelines.
    PIPELINES S "pipelines" 200 List(PIPELINE_ITEM), PAGED;
        "one page, without child pipelines"; "2.2 list"
    PIPELINES_OLD S "pipelines" 200 List(PIPELINE_BASIC), PAGED;
        "before 16.3: without name"; "2.2 items; versions by GitLab's docs"
    FILTER_INVALID K "pipelines schedules" 400 Error("{} does not have a valid value"), &[];
        "a filter's value is out of its set"; "2.2 filters"
    PIPELINE_SHOWN S "pipeline" 200 Entity(PIPELINE_SINGLE), &[];
        "with name"; "2.3 single"
    PIPELINE_SHOWN_OLD S "pipeline" 200 Entity(PIPELINE), &[];
        "before 16.3: without name"; "2.3 single; versions by GitLab's docs"
    PIPELINE_LATEST_OLD S "latest" 200 Entity(PIPELINE), &[];
        "before 16.3: without name"; "2.3 latest; versions by GitLab's docs"
    PIPELINE_LATEST S "latest" 200 Entity(PIPELINE_SINGLE), &[];
        "of the ref's head commit"; "2.3 latest"
    LATEST_NONE D "latest" 403 Message("403 Forbidden"), &[];
        "there is none: 403, not 404"; "2.3 latest; 11.13"
    VARIABLES_SHOWN S "variables" 200 List(VARIABLE), &[];
        "to a Maintainer, or to who triggered it; not paged"; "2.3 variables"
    TEST_SUMMARY_SHOWN S "test_report_summary" 200 Entity(TEST_SUMMARY), &[];
        "totals; all 0 before the pipeline has ended"; "2.3 reports"
    TEST_REPORT_SHOWN S "test_report" 200 Entity(TEST_REPORT), &[];
        "suites with every case"; "2.3 reports"
    CANCELED S "cancel" 200 Entity(PIPELINE), &[];
        "always 200 once allowed"; "2.4 cancel; 11.15"
    RETRIED S "retry" 201 Entity(PIPELINE), &[];
        "same id, new job ids"; "2.4 retry"
    DELETED S "delete" 204 Empty, &[];
        "by an Owner"; "2.4 delete"
    METADATA_SET S "rename" 200 Entity(PIPELINE_SINGLE), &[];
        "the name is set"; "2.4 metadata"
    METADATA_NAME_MISSING K "rename" 400 Error("name is missing"), &[];
        "no name"; "2.4 metadata, Grape's wording"
    METADATA_NAME_TOO_LONG K "rename" 400
        Message("400 Bad request - Failed to update pipeline - Name is too long (maximum is 255 characters)"), &[];
        "a name of more than 255 characters"; "2.4 metadata, by analogy"

    // Jobs.
    JOBS S "jobs" 200 List(JOB), PAGED;
        "one page, without bridges and retried jobs"; "2.5 jobs"
    JOBS_SCOPE_INVALID S "jobs" 400 Message("Scope contains invalid value(s)"), &[];
        "an unknown job status"; "2.5 bad scope"
    BRIDGES S "bridges" 200 List(BRIDGE), PAGED;
        "trigger jobs live here, with the pipelines they made"; "2.5 bridges"
    JOB_SHOWN S "job" 200 Entity(JOB), &[];
        "the caller may read it"; "2.5 jobs"
    JOB_RETRIED S "job_retry" 201 Entity(JOB), &[];
        "the new job, under a new id"; "2.5 retry"
    JOB_NOT_RETRYABLE S "job_retry" 403 Message("403 Forbidden - Job is not retryable"), &[];
        "it has not ended, or was retried already"; "2.5 retry"
    JOB_PLAYED S "job_play" 200 Entity(JOB), &[];
        "a manual job starts"; "2.5 play"
    JOB_UNPLAYABLE S "job_play" 400 Message("400 Bad request - Unplayable Job"), &[];
        "it is not manual, or runs already"; "2.5 play"
    JOB_CANCELED S "job_cancel" 201 Entity(JOB), &[];
        "even if nothing could be cancelled"; "2.5 cancel"

    // Artifacts.
    ARTIFACT_SHOWN K "artifact artifact_of_ref" 200 Text("{}"), &[];
        "one file of the archive"; "2.5 artifacts"
    ARTIFACT_REDIRECTED K "artifact artifact_of_ref" 302
        Text("This resource has been moved temporarily to {}."), &["Location"];
        "artifacts lie in an object storage"; "2.5 artifacts: may redirect, do not forward the token"
    ARTIFACT_PATH_INVALID K "artifact artifact_of_ref" 400 Message("400 Bad request"), &[];
        "a path that leaves the archive"; "2.5 artifacts; helper texts"
    ARTIFACT_JOB_MISSING K "artifact_of_ref" 400 Error("job is missing"), &[];
        "no job is named"; "2.5 artifacts, Grape's wording"
    ARTIFACTS_NONE S "artifact artifact_of_ref" 404 Message("404 Not Found"), &[];
        "the job left nothing behind, or did not succeed"; "2.5 artifacts; helper texts"
    ARTIFACT_ENTRY_MISSING K "artifact artifact_of_ref" 404 Text("Not Found"), &[];
        "the archive has no such file: the proxy in front of GitLab answers"; "2.5 artifacts"
    STORAGE_SERVED K "object_storage" 200 Text("{}"), &[];
        "the signed address is asked without a token"; "none: an object storage's own"
    STORAGE_REFUSES_TOKEN K "object_storage" 400 Text("Only one auth mechanism allowed"), &[];
        "a token came along"; "none: an object storage's own; 2.5 do not forward the token"
    STORAGE_FORBIDDEN K "object_storage" 403 Text("Access Denied"), &[];
        "an address that was not signed"; "none: an object storage's own"

    // Pipeline schedules.
    SCHEDULES S "schedules" 200 List(SCHEDULE), PAGED;
        "one page, by scope"; "3 list"
    SCHEDULE_SHOWN S "schedule" 200 Entity(SCHEDULE_DETAILS), &[];
        "with the last pipeline; variables only to the owner and Maintainers"; "3 single"
    SCHEDULE_NOT_FOUND S "schedule*" 404 Message("404 Pipeline Schedule Not Found"), &[];
        "unknown, or not the caller's to read"; "3 single"
    SCHEDULE_PIPELINES S "schedule_pipelines" 200 List(PIPELINE_BASIC), PAGED;
        "one page, oldest first"; "3 pipelines"
    SCHEDULE_CREATED S "schedule_create" 201 Entity(SCHEDULE_DETAILS), &[];
        "without variables: those are calls of their own"; "3 POST; variables"
    SCHEDULE_UPDATED S "schedule_update" 200 Entity(SCHEDULE_DETAILS), &[];
        "by the owner"; "3 PUT"
    SCHEDULE_PARAMETER K "schedule_create schedule_update schedule_variable*" 400 Error("{}"), &[];
        "parameters missing or mistyped, joined by a comma"; "3 POST; error families: parameter validation"
    SCHEDULE_NOT_AUTHORIZED D "schedule_create schedule_update" 400
        Base("The current user is not authorized to {} the pipeline schedule"), &[];
        "the ref is protected against the user"; "3 validations; the service's checks"
    SCHEDULE_REF_AMBIGUOUS S "schedule_create schedule_update" 400 Attribute("ref", "is ambiguous"), &[];
        "a short ref that is both a branch and a tag, or neither"; "3 ref; the service's checks"
    SCHEDULE_CRON_INVALID S "schedule_create schedule_update" 400 Attribute("cron", "syntax is invalid"), &[];
        "no cron expression, or a day that never comes; older: ' is invalid syntax'"; "3 validation failures"
    SCHEDULE_ZONE_INVALID S "schedule_create schedule_update" 400
        Attribute("cron_timezone", "syntax is invalid"), &[];
        "an unknown time zone"; "3 validation failures"
    SCHEDULE_DESCRIPTION_BLANK K "schedule_create schedule_update" 400
        Attribute("description", "can't be blank"), &[];
        "a blank description"; "3 validation failures"
    SCHEDULE_LIMIT D "schedule_create" 400 Base("Maximum number of ci pipeline schedules ({}) exceeded"), &[];
        "the project has as many as it may"; "3 limits"
    SCHEDULE_TAKEN S "schedule_take" 201 Entity(SCHEDULE_DETAILS), &[];
        "by a Maintainer"; "3 take_ownership"
    SCHEDULE_OWNED S "schedule_take" 200 Entity(SCHEDULE_DETAILS), &[];
        "already the owner"; "3 take_ownership"
    SCHEDULE_DELETED S "schedule_delete" 204 Empty, &[];
        "by the owner or a Maintainer"; "3 DELETE"
    SCHEDULE_PLAYED S "schedule_play" 201 Message("201 Created"), &[];
        "without a pipeline id: there is none yet"; "3 play; 11.17"
    SCHEDULE_VARIABLE_CREATED S "schedule_variable_create" 201 Entity(VARIABLE), &[];
        "by the owner"; "3 variables"
    SCHEDULE_VARIABLE_KEY K "schedule_variable_create" 400
        Attribute("key", "can contain only letters, digits and '_'."), &[];
        "a key that is no word"; "3 key; 9 key"
    SCHEDULE_VARIABLE_KEY_LONG K "schedule_variable_create" 400
        Attribute("key", "is too long (maximum is 255 characters)"), &[];
        "a key of more than 255 characters"; "3 key; 9 key"
    SCHEDULE_VARIABLE_TAKEN K "schedule_variable_create" 400 Attribute("key", "has already been taken"), &[];
        "the schedule has a variable of this name"; "3 no duplicate variable keys"
    SCHEDULE_VARIABLE_SHOWN S "schedule_variable" 200 Entity(VARIABLE), &[];
        "to the owner and Maintainers"; "3 variables"
    SCHEDULE_VARIABLE_UPDATED S "schedule_variable_update" 200 Entity(VARIABLE), &[];
        "by the owner"; "3 variables"
    SCHEDULE_VARIABLE_DELETED S "schedule_variable_delete" 202 Entity(VARIABLE), &[];
        "202, with what it was"; "3 variables"
    SCHEDULE_VARIABLE_NOT_FOUND S "schedule_variable*" 404 Message("404 Pipeline Schedule Variable Not Found"),
        &[]; "the schedule has no variable of this name"; "3 variables"

    // Projects and the instance.
    PROJECT_SHOWN K "project" 200 Entity(PROJECT), &[];
        "the caller can see it"; "5 visibility; entity not listed"
    REPOSITORY_NOT_FOUND S "file* commit* compare branch_create branch_delete" 404
        Message("404 Repository Not Found"), &[];
        "the project has no repository"; "4.1 order and answers, 1"
    REPOSITORY_BROKEN K "*" 500 Message("500 Internal Server Error"), &[];
        "the repository's storage fails"; "helper texts"
    BRANCHES K "branches" 200 List(BRANCH), PAGED;
        "one page; by `search` only those with a part, a ^beginning or an end$"; "4.4 branches"
    BRANCH_SHOWN K "branch" 200 Entity(BRANCH), &[];
        "it exists"; "4.4 branches"
    BRANCH_NOT_FOUND S "branch" 404 Message("404 Branch Not Found"), &[];
        "it does not"; "4.4 GET missing"
    BRANCH_CREATED K "branch_create" 201 Entity(BRANCH), &[];
        "at the start that was named"; "4.4 branches"
    BRANCH_PARAMETER K "branch_create" 400 Error("{}"), &[];
        "branch or ref is missing"; "error families: parameter validation"
    BRANCH_EXISTS K "branch_create" 400 Message("Branch already exists"), &[];
        "the name is taken"; "4.4 branches"
    BRANCH_NAME_INVALID K "branch_create" 400 Message("Branch name is invalid"), &[];
        "git takes no such name"; "4.4 branches, by analogy"
    BRANCH_START_INVALID K "branch_create" 400 Message("Invalid reference name: {}"), &[];
        "ref names nothing"; "4.4 branches"
    BRANCH_PROTECTED_CREATE K "branch_create" 400
        Message("You are not allowed to create protected branches on this project."), &[];
        "the name is protected against the user"; "4.4 branches, by analogy"
    BRANCH_DELETED K "branch_delete" 204 Empty, &[];
        "it is gone"; "4.4 branches"
    BRANCH_IS_DEFAULT K "branch_delete" 405 Message("Cannot remove HEAD branch"), &[];
        "the default branch"; "4.4 branches: 403 or 405"
    BRANCH_IS_PROTECTED K "branch_delete" 405 Message("Protected branch cant be removed"), &[];
        "a protected branch"; "4.4 branches: 403 or 405"

    // Files.
    FILE_SHOWN S "file" 200 Entity(FILE), OF_FILE;
        "content in base64"; "4.3 GET files"
    FILE_HEAD S "file_head" 200 Empty, OF_FILE;
        "by HEAD: all but the content"; "4.3 GET files"
    FILE_RAW S "file_raw" 200 Raw, OF_FILE;
        "the bytes as they are"; "4.3 raw"
    FILE_NOT_FOUND S "file file_head file_raw" 404 Message("404 File Not Found"), &[];
        "no such file at this commit"; "4.3 GET files"
    FILE_PARAMETER K "file*" 400 Error("{}"), &[];
        "ref of a GET, or branch, commit_message or content of a write is missing"; "4.3 GET files; error families"
    FILE_CREATED S "file_create" 201 Entity(&["file_path", "branch"]), &[];
        "without the commit's id"; "4.3 POST and PUT; 11.23"
    FILE_UPDATED S "file_update" 200 Entity(&["file_path", "branch"]), &[];
        "without the commit's id"; "4.3 POST and PUT; 11.23"
    FILE_DELETED S "file_delete" 204 Empty, &[];
        "whatever last_commit_id said"; "4.3 DELETE"
    FILE_BRANCH_FORBIDDEN S "file_create file_update file_delete" 400
        Message("You are not allowed to push into this branch"), &[];
        "the branch is protected against the user: 400 here"; "4.3 protected branch; 11.22"
    FILE_CHANGED K "file_update" 400
        Message("You are attempting to update a file that has changed since you started editing it."), &[];
        "last_commit_id saw another history of the path"; "4.3 PUT"

    // Commits.
    COMMITS S "commits" 200 List(COMMIT), PAGED;
        "one page, without totals; by path those that touched it"; "4.6 commits"
    COMMIT_SHOWN S "commit" 200 Entity(COMMIT_DETAIL), &[];
        "by id, branch or tag"; "4.6 commits"
    COMMIT_NOT_FOUND S "file file_head file_raw commit" 404 Message("404 Commit Not Found"), &[];
        "ref or id means no commit"; "4.3 GET files; 4.6 commits"
    COMPARED K "compare" 200 Entity(COMPARISON), &[];
        "from where to left from"; "4.6 compare"
    COMPARE_PARAMETER K "compare" 400 Error("{}"), &[];
        "from or to is missing"; "error families: parameter validation"
    COMPARE_NOT_FOUND K "compare" 404 Message("404 Ref Not Found"), &[];
        "one of them means no commit"; "4.6 compare"
    COMMIT_CREATED S "commit_create" 201 Entity(COMMIT_DETAIL), &[];
        "all actions in one commit"; "4.1 order and answers, 7"
    COMMIT_NOT_JSON S "commit_create" 400 Twice("Invalid json"), &[];
        "the body does not parse"; "4.1 order and answers, 2"
    COMMIT_BRANCH_FORBIDDEN S "commit_create" 403
        Message("403 Forbidden - You are not allowed to push into this branch"), &[];
        "the branch is protected against the user, or the role too small"; "4.1 order and answers, 3; 11.22"
    COMMIT_INVALID S "commit_create" 400 Message("400 Bad request - {}"), &[];
        "the first fault of the body"; "4.1 order and answers, 4"
    COMMIT_NOT_ON_BRANCH S "commit_create file_create file_update file_delete" 400
        Message("You can only create or edit files when you are on a branch"), &[];
        "there is no branch to start from"; "4.1 table of the service's refusals"
    COMMIT_BRANCH_EXISTS S "commit_create file_create file_update file_delete" 400
        Message("A branch called '{}' already exists. Switch to that branch in order to make changes"), &[];
        "another start than the branch itself, without force"; "4.1 table of the service's refusals; 11.21"
    COMMIT_START_INVALID S "commit_create" 400 Message("Invalid start_sha '{}'"), &[];
        "no full id"; "4.1 table of the service's refusals"
    COMMIT_START_UNKNOWN S "commit_create" 400 Message("Cannot find start_sha '{}'"), &[];
        "no such commit"; "4.1 table of the service's refusals"
    COMMIT_BRANCH_INVALID S "commit_create file_create file_update file_delete" 400
        Message("Something went wrong when we tried to create '{}' for you: Branch name is invalid"), &[];
        "git takes no such name for a new branch"; "4.1 table of the service's refusals"
    COMMIT_FILE_CHANGED S "commit_create" 400
        Message("The file has changed since you started editing it: {}"), &[];
        "last_commit_id saw another history of the path"; "4.1 table of the service's refusals; 4.2"
    COMMIT_FILE_EXISTS S "commit_create file_create" 400 Message("A file with this name already exists"), &[];
        "created or moved onto a file"; "4.1 table of the service's refusals"
    COMMIT_FILE_MISSING S "commit_create file_update file_delete" 400
        Message("A file with this name doesn't exist"), &[];
        "updated, deleted, moved or switched, and not there"; "4.1 table of the service's refusals"
    COMMIT_DIRECTORY_EXISTS S "commit_create file_create" 400
        Message("A directory with this name already exists"), &[];
        "created or moved onto a directory"; "4.1 table of the service's refusals"
    COMMIT_PATH_TRAVERSAL S "commit_create" 400 Message("Path cannot include directory traversal"), &[];
        "a path with `..`"; "4.1 table of the service's refusals"
    COMMIT_LOST_RACE K "commit_create file_create file_update file_delete branch_create" 400
        Message("Could not update refs/heads/{}. Please refresh and try again."), &[];
        "somebody moved the branch meanwhile; fault lost_race"; "4.1 table of the service's refusals: lost race"

    // Merge requests.
    MERGE_REQUESTS S "merge_requests" 200 List(MERGE_REQUEST), PAGED;
        "one page, newest first, by state, branches and iids"; "4.5 list"
    MERGE_REQUEST_SHOWN S "merge_request" 200 Entity(MERGE_REQUEST), &[];
        "the first look after a change says checking"; "4.5 create; list"
    MERGE_REQUEST_NOT_FOUND K "merge*" 404 Message("404 Not found"), &[];
        "no such number in the project"; "4.5 merge; helper texts, two spellings"
    MERGE_REQUEST_CREATED S "merge_request_create" 201 Entity(MERGE_REQUEST), &[];
        "from a branch to another"; "4.5 create"
    MERGE_REQUEST_PARAMETER K "merge_request_create merge_request_update" 400 Error("{}"), &[];
        "parameters missing, or none given at all"; "4.5 create; error families: parameter validation"
    MERGE_REQUEST_EXISTS X "merge_request_create" 409
        Listed("Another open merge request already exists for this source branch: !{}"), &[];
        "one with the same branches is open"; "4.5 create"
    MERGE_REQUEST_SAME_BRANCH K "merge_request_create" 409
        Listed("You can't use same project/branch for source and target"), &[];
        "source and target are one"; "4.5 create: bad branches"
    MERGE_REQUEST_BRANCH_MISSING K "merge_request_create" 422 Listed("{}"), &[];
        "source or target does not exist"; "4.5 create: missing branches"
    MERGE_REQUEST_UPDATED S "merge_request_update" 200 Entity(MERGE_REQUEST), &[];
        "fields, or its state by state_event"; "4.5 update"
    MERGED S "merge" 200 Entity(MERGE_REQUEST), &[];
        "merged now"; "4.5 merge"
    MERGE_ARMED S "merge" 200 Entity(MERGE_REQUEST), &[];
        "auto_merge, and something is still to come: it stays open"; "4.5 auto_merge; 11.15"
    MERGE_UNAUTHORIZED S "merge merge_disarm" 401 Message("401 Unauthorized"), &[];
        "the user may not push to the target: 401, not 403"; "4.5 merge; 11.15"
    MERGE_NOT_ALLOWED S "merge" 405 Message("405 Method Not Allowed"), &[];
        "closed, draft, or a pipeline that must succeed; auto_merge with no pipeline to wait for"; "4.5 merge; auto_merge"
    MERGE_CONFLICT S "merge" 422 Message("Branch cannot be merged"), &[];
        "the branches conflict"; "4.5 merge"
    MERGE_SHA_DIFFERS S "merge" 409 Message("SHA does not match HEAD of source branch: {}"), &[];
        "sha is not the head of the source"; "4.5 merge"
    MERGE_DISARMED K "merge_disarm" 201 Empty, &[];
        "it is no longer merged by itself"; "4.5 cancel"
    USERS K "users" 200 List(USER), PAGED;
        "one page, by username"; "none"

    VERSION_SHOWN K "version" 200 Entity(VERSION), &[];
        "to a signed-in user"; "none"
    METADATA_SHOWN K "metadata" 200 Entity(METADATA), &[];
        "to a signed-in user"; "none"
    USER_SHOWN K "user" 200 Entity(USER), &[];
        "to a signed-in user"; "1.5 user, basic part"

    // Faults on request.
    FAULT_BAD_GATEWAY F "*" 502 Html("<html><head><title>502 Bad Gateway</title></head></html>"), &[];
        "fault bad_gateway"; "6 proxies"
    FAULT_GATEWAY_TIMEOUT F "*" 504 Html("<html><head><title>504 Gateway Time-out</title></head></html>"), &[];
        "fault late_effect"; "6 proxies"
    FAULT_SERVER_ERROR F "*" 500 Message("500 Internal Server Error"), &[];
        "fault server_error"; "helper texts; 6 overload"
    FAULT_TOO_MANY F "*" 429 Text("Retry later"), &["Retry-After"];
        "fault too_many_requests"; "6 throttled answer"
    FAULT_UNAVAILABLE F "*" 503 Message("503 Service Unavailable"), &["Retry-After"];
        "fault unavailable"; "helper texts; 6 overload"
    FAULT_READ_ONLY K "*" 403
        Message("You cannot perform write operations on a read-only instance"), &[];
        "fault read_only"; "6 maintenance"
    FAULT_RESOURCE_LOCK S "*" 409 Message("409 Conflict: Resource lock"), &[];
        "fault resource_lock"; "helper texts: stale object or lease"
    FAULT_REDIRECT F "*" 302 Html("<html><body>You are being <a href=\"{}\">redirected</a>.</body></html>"),
        &["Location"]; "fault redirect"; "a proxy or sign-on page in front"
}
