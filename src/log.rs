//! Log lines: lower case, past tense, with fields; to standard error.

use anyhow::{Context as _, ensure};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::LogFormat;

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let wrong = || {
        format!(
            "--log-level {filter}: write a level (error, warn, info, debug, trace, off) or a filter (pipekick=debug,kube=warn)"
        )
    };
    ensure!(has_levels(filter), wrong());
    let filter = EnvFilter::try_new(filter).with_context(wrong)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Whether each part names a level. One that does not is taken for the name of a part of the program, which is told at every
/// level and all others at none: `infoo` would log nothing at all.
fn has_levels(filter: &str) -> bool {
    // Fields of a span may have commas between them.
    let depth =
        |text: &str| text.matches('{').count() - text.matches('}').count().min(text.matches('{').count());
    let mut begun = String::new();
    filter.split(',').all(|part| {
        begun.push_str(part);
        if depth(&begun) > 0 {
            return true;
        }
        let whole = std::mem::take(&mut begun);
        let level = whole.rsplit_once('=').map_or(whole.as_str(), |(_, level)| level).trim();
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_filter_names_a_level() {
        for good in
            ["info", "OFF", "pipekick=debug,kube=warn", "info, kube=off", "warn,[run{a=1,b=2}]=trace", "3"]
        {
            assert!(has_levels(good), "{good}");
        }
        for bad in ["infoo", "pipekick", "info=", "debug,kube", "pipekick=debugg", "", "info,"] {
            assert!(!has_levels(bad), "{bad}");
        }
    }
}
