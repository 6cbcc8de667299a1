//! Offset pages with the headers and links that go with them.

use serde_json::Value;
use url::form_urlencoded;

use super::{params::Params, routes::Request, row::Answer, rows, state::World};

/// Above this many rows, totals and the last page are not told.
const MOST_COUNTED: usize = 10_000;
const DEFAULT_PER_PAGE: usize = 20;
const MOST_PER_PAGE: usize = 100;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    number: usize,
    size: usize,
}

impl Page {
    pub(crate) fn of(params: &Params) -> Result<Self, Answer> {
        let read = |name: &'static str, default| match params.get(name) {
            None => Ok(default),
            Some(Value::String(text)) if !text.is_empty() => {
                text.parse().map_err(|_| rows::FILTER_INVALID.filled(name))
            }
            Some(_) => Err(rows::FILTER_INVALID.filled(name)),
        };
        let (number, size): (usize, usize) = (read("page", 1)?, read("per_page", DEFAULT_PER_PAGE)?);
        Ok(Self { number: number.max(1), size: size.clamp(1, MOST_PER_PAGE) })
    }

    /// How many items come before this page.
    pub(crate) fn first(self) -> usize {
        (self.number - 1).saturating_mul(self.size)
    }

    /// Most items on it.
    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// The items of this page, and how many there are in all.
    pub(crate) fn cut<T>(self, items: impl Iterator<Item = T>) -> (Vec<T>, usize) {
        let first = self.first();
        let mut total = 0;
        let mut page = Vec::new();
        for item in items {
            if total >= first && page.len() < self.size {
                page.push(item);
            }
            total += 1;
        }
        (page, total)
    }

    /// The headers of a list that nobody counted: a full page is taken to have a next one.
    pub(crate) fn head_uncounted(
        self,
        answer: Answer,
        world: &World,
        request: &Request<'_>,
        full: bool,
    ) -> Answer {
        let next = full.then_some(self.number + 1);
        let previous = (self.number > 1).then_some(self.number - 1);
        let links = [("prev", previous), ("next", next), ("first", Some(1))];
        self.headed(answer, world, request, next, previous, &links)
    }

    /// Adds the headers.
    pub(crate) fn head(self, answer: Answer, world: &World, request: &Request<'_>, total: usize) -> Answer {
        let pages = total.div_ceil(self.size).max(1);
        let next = (self.number < pages).then_some(self.number + 1);
        let previous = (self.number > 1).then_some(self.number - 1);
        let counted = total <= MOST_COUNTED;
        let last = counted.then_some(pages);
        let links = [("prev", previous), ("next", next), ("first", Some(1)), ("last", last)];
        let mut answer = self.headed(answer, world, request, next, previous, &links);
        if counted {
            answer = answer.header("X-Total", total.to_string()).header("X-Total-Pages", pages.to_string());
        }
        answer
    }

    fn headed(
        self,
        answer: Answer,
        world: &World,
        request: &Request<'_>,
        next: Option<usize>,
        previous: Option<usize>,
        links: &[(&str, Option<usize>)],
    ) -> Answer {
        let text = |page: Option<usize>| page.map(|page| page.to_string()).unwrap_or_default();
        let link = links.iter().filter_map(|(rel, page)| Some(self.link(world, request, rel, (*page)?)));
        answer
            .header("X-Page", self.number.to_string())
            .header("X-Per-Page", self.size.to_string())
            .header("X-Next-Page", text(next))
            .header("X-Prev-Page", text(previous))
            .header("Link", link.collect::<Vec<_>>().join(", "))
    }

    fn link(self, world: &World, request: &Request<'_>, rel: &str, page: usize) -> String {
        let mut query = request.call.open_query();
        query.retain(|(key, _)| key != "page" && key != "per_page");
        query.push(("page".into(), page.to_string()));
        query.push(("per_page".into(), self.size.to_string()));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        format!("<{}{}?{query}>; rel=\"{rel}\"", world.base_url, request.call.path)
    }
}
