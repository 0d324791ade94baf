//! How a campaign's process is told what to do: one JSON line on its standard input, which stays open as long as it may go on.
//!
//! No file, so that nothing is left of one.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use crate::campaign::{Plan, Scheduled, cli::Campaign};

/// The longest line read: a body's length, where every character is escaped.
const LONGEST: u64 = 4 << 20;

/// The most injections of one: each is judged by the command line's parser before the answer, and its report is kept.
const MOST_INJECTIONS: usize = 2000;

/// The most text that they may be asked for with, in bytes: several times what so many need. It is in the answer.
const MOST_TEXT: usize = 1 << 20;

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
    /// A sentence, where the text is no campaign, or one that is longer than any that is taken here.
    pub fn campaign(&self) -> Result<Campaign, Vec<String>> {
        let plan = Plan::parse(&self.campaign).map_err(|problem| vec![problem])?;
        // One more than are taken is enough to know.
        let campaign = Campaign::to_at_most(plan, self.seed, MOST_INJECTIONS + 1);
        if campaign.schedule.len() > MOST_INJECTIONS {
            return Err(vec![format!(
                "the campaign has more injections than are taken here, at most {MOST_INJECTIONS}: plan longer gaps, or several \
                 campaigns"
            )]);
        }
        let text: usize =
            campaign.schedule.iter().flat_map(Scheduled::arguments).map(|word| word.len()).sum();
        if text > MOST_TEXT {
            return Err(vec![format!(
                "its injections have {text} bytes of places and options together, and at most {MOST_TEXT} are taken here"
            )]);
        }
        Ok(campaign)
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

    fn problems(campaign: String) -> Vec<String> {
        Order { campaign, seed: None }.campaign().map_or_else(|problems| problems, |_| Vec::new())
    }

    #[test]
    fn a_campaign_of_very_many_injections_is_not_taken() {
        let text = "duration = '1day'\n[[random]]\nkinds = [{ kind = 'pause' }]\nplaces = [{ target = 'shop' }]\n\
                    mean_gap = '10s'\nduration = '100ms'\noverlap = true";
        let told = problems(text.to_owned());
        assert!(told[0].contains("at most 2000"), "{told:?}");
        assert_eq!(problems(text.replace("10s", "60s")), Vec::<String>::new(), "1440 expected");
    }

    #[test]
    fn a_campaign_of_very_much_text_is_not_taken() {
        let text = |letters: usize| {
            format!(
                "duration = '1h'\n[[random]]\nkinds = [{{ kind = 'pause' }}]\nplaces = [{{ target = '{}' }}]\n\
                 mean_gap = '10s'\nduration = '100ms'",
                "x".repeat(letters)
            )
        };
        assert_eq!(problems(text(100)), Vec::<String>::new());
        let told = problems(text(10_000));
        assert!(told[0].contains("places and options together"), "{told:?}");
    }

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
