//! Where the table is shown: redrawn in place on a terminal, elsewhere one plain line for each change.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};

use terminal_size::{Height, Width, terminal_size_of};

use super::table::{Paint, Row, Summary, table};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J\x1b[H";
/// Of a terminal that does not tell.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Standard output.
pub enum Screen {
    Live(Live),
    Plain(Plain),
}

impl Screen {
    /// `intro` stands above the table, and is never cut: people copy from it.
    pub fn open(intro: String) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !io::stdout().is_terminal() || dumb {
            put(&format!("{intro}\n"));
            return Self::Plain(Plain::default());
        }
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let paint = if wanted { Paint::Colours } else { Paint::Plain };
        put(&format!("{intro}{HIDE_CURSOR}\n"));
        Self::Live(Live { intro, note: String::new(), drawn: Vec::new(), size: size(), paint })
    }

    /// Something worth lines of its own.
    pub fn note(&mut self, note: &str) {
        match self {
            Self::Live(live) => note.clone_into(&mut live.note),
            Self::Plain(_) => put(&format!("{note}\n")),
        }
    }

    pub fn show(&mut self, rows: &[Row], summary: &Summary<'_>) {
        match self {
            Self::Live(live) => live.show(rows, summary),
            Self::Plain(plain) => plain.show(rows, summary),
        }
    }
}

/// A terminal.
pub struct Live {
    intro: String,
    note: String,
    /// The lines that stand there, with the cursor in the line below.
    drawn: Vec<String>,
    size: (usize, usize),
    paint: Paint,
}

impl Live {
    fn show(&mut self, rows: &[Row], summary: &Summary<'_>) {
        let resized = size();
        // A terminal breaks the lines that stood there anew, and nobody knows how: begin afresh.
        let afresh = resized != self.size;
        self.size = resized;
        // A terminal may break a line that fills it.
        let width = self.size.0.saturating_sub(1);
        let mut lines = table(rows, width, self.paint);
        lines.push(String::new());
        let height = self.size.1.saturating_sub(1);
        lines.extend(note(&self.note, width, height.saturating_sub(lines.len() + 1)));
        lines.push(summary.line(width, self.paint));
        // One that is too low even for the table shows its end.
        let lines = lines.split_off(lines.len().saturating_sub(height));
        if lines == self.drawn && !afresh {
            return;
        }
        let mut frame = if afresh {
            format!("{CLEAR_ALL}{}\n", self.intro)
        } else {
            match self.drawn.len() {
                0 => String::new(),
                n => format!("\r\x1b[{n}A"),
            }
        };
        for line in &lines {
            frame.push_str(line);
            frame.push_str(CLEAR_LINE);
            frame.push('\n');
        }
        frame.push_str(CLEAR_BELOW);
        self.drawn = lines;
        put(&frame);
    }
}

/// As much of a note as there is room for: the table is what people look at.
fn note(note: &str, width: usize, room: usize) -> Vec<String> {
    let all: Vec<String> = note.lines().map(|line| line.chars().take(width).collect()).collect();
    let Some(cut) = all.len().checked_sub(room).filter(|cut| *cut > 0) else { return all };
    let mut lines: Vec<String> = all.into_iter().take(room.saturating_sub(1)).collect();
    if room > 0 {
        lines.push(format!("… {} more lines: make the window higher", cut + 1));
    }
    lines
}

impl Drop for Live {
    fn drop(&mut self) {
        // Over the ^C that the terminal may have written.
        put(&format!("\r{CLEAR_BELOW}{SHOW_CURSOR}"));
    }
}

/// A pipe or a file.
#[derive(Default)]
pub struct Plain {
    told: HashMap<String, Row>,
    ended: bool,
}

impl Plain {
    fn show(&mut self, rows: &[Row], summary: &Summary<'_>) {
        for row in rows.iter().filter(|row| row.phase.is_some()) {
            // Time goes by: that is no change.
            let seen = Row { seconds: None, mark: super::table::Mark::None, ..row.clone() };
            if self.told.get(&row.name) != Some(&seen) {
                put(&format!("{}\n", row.line(summary.elapsed)));
                self.told.insert(row.name.clone(), seen);
            }
        }
        if summary.end.is_some() && !self.ended {
            self.ended = true;
            put(&format!("{}\n", summary.line(usize::MAX, Paint::Plain)));
        }
    }
}

/// Nobody to tell is no reason to fail.
fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn size() -> (usize, usize) {
    terminal_size_of(io::stdout())
        .map_or(USUAL_SIZE, |(Width(columns), Height(rows))| (columns.into(), rows.into()))
}

#[cfg(test)]
mod tests {
    use super::note;

    #[test]
    fn a_note_gives_way_to_the_table() {
        assert_eq!(note("one\ntwo\nthree", 80, 3), ["one", "two", "three"]);
        assert_eq!(note("one\ntwo\nthree", 80, 2), ["one", "… 2 more lines: make the window higher"]);
        assert_eq!(note("one\ntwo\nthree", 80, 0), [""; 0]);
        assert_eq!(note("one", 2, 1), ["on"]);
    }
}
