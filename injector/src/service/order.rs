//! How a campaign's process is told what to do: one JSON line on its standard input, which stays open as long as it may go on.
//!
//! No file, so that nothing is left of one.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use crate::campaign::{Plan, cli::Campaign};

/// The longest line read: a body's length, where every character is escaped.
const LONGEST: u64 = 4 << 20;

/// A campaign that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The text of its file.
    pub campaign: String,
    /// Of all chance in it, instead of the file's.
    pub seed: Option<u64>,
}

impl Order {
    /// The campaign that it comes to, which nobody has judged yet.
    ///
    /// # Errors
    /// A sentence, where the text is no campaign.
    pub fn campaign(&self) -> Result<Campaign, Vec<String>> {
        let plan = Plan::parse(&self.campaign).map_err(|problem| vec![problem])?;
        Ok(Campaign::of(plan, self.seed))
    }

    /// Reads the line.
    ///
    /// # Errors
    /// When there is none, or it is something else.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        from.take(LONGEST).read_line(&mut line)?;
        serde_json::from_str(&line).map_err(io::Error::from)
    }

    /// The line.
    ///
    /// # Errors
    /// None that a string of text and a number could cause.
    pub fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_and_leaves_what_follows() {
        let order = Order { campaign: "duration = \"1m\"\n# \"x\"".to_owned(), seed: Some(u64::MAX) };
        let mut sent = order.line().unwrap();
        sent.extend(b"rest");
        let mut from = sent.as_slice();
        assert_eq!(Order::read(&mut from).unwrap(), order);
        assert_eq!(from, b"rest");
        for bad in ["", "{", "{\"campaign\":7}", "\n"] {
            assert!(Order::read(&mut bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
