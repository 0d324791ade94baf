//! One JSON line for each request that is over, at once. Must not know how requests are sent.

use std::{
    fs::File,
    io::{self, Write},
    sync::mpsc,
    thread,
};

use anyhow::Context;
use ballast_api::UnixNanos;
use serde::Serialize;

/// One line.
#[derive(Debug, Serialize)]
pub struct Line {
    /// When it was to be sent.
    pub intended_unix_nanos: UnixNanos,
    /// From then until the end.
    pub latency_ms: f64,
    /// Its request type.
    pub request: String,
    /// Whether it was answered with success.
    pub ok: bool,
}

/// Writes lines on a thread of its own: a slow reader must not delay the requests.
#[derive(Debug)]
pub struct Each {
    lines: mpsc::Sender<Line>,
    writer: thread::JoinHandle<io::Result<()>>,
}

impl Each {
    /// To a new file at `path`, or to standard output for `-`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn to(path: &str) -> anyhow::Result<Self> {
        let mut out: Box<dyn Write + Send> = match path {
            "-" => Box::new(io::stdout()),
            path => Box::new(File::create(path).with_context(|| format!("--each {path:?}"))?),
        };
        let (lines, received) = mpsc::channel::<Line>();
        let writer = thread::spawn(move || {
            for line in received {
                let mut text = serde_json::to_vec(&line)?;
                text.push(b'\n');
                out.write_all(&text)?;
                out.flush()?;
            }
            Ok(())
        });
        Ok(Self { lines, writer })
    }

    /// Hands over one line.
    ///
    /// # Errors
    /// When lines can no longer be written; [`Each::finish`] says why.
    pub fn write(&self, line: Line) -> anyhow::Result<()> {
        self.lines.send(line).context("--each: the lines cannot be written any more")
    }

    /// Waits until all lines are written.
    ///
    /// # Errors
    /// When one could not be.
    pub fn finish(self) -> anyhow::Result<()> {
        drop(self.lines);
        let written =
            self.writer.join().map_err(|_| anyhow::anyhow!("the thread that writes lines panicked"))?;
        written.context("--each: writing a line")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("each.jsonl");
        let each = Each::to(path.to_str().unwrap()).unwrap();
        let line = Line {
            intended_unix_nanos: UnixNanos(7),
            latency_ms: 1.5,
            request: "GET /a".to_owned(),
            ok: true,
        };
        each.write(line).unwrap();
        each.finish().unwrap();
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            written,
            "{\"intended_unix_nanos\":7,\"latency_ms\":1.5,\"request\":\"GET /a\",\"ok\":true}\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = Each::to("/nowhere/each.jsonl").unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/each.jsonl"));
    }
}
