//! A question and its answer over a connection, and who answers.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use ballast_injector::clocks;

/// The network may come after the process that is to have it.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(20);

/// No answer is longer.
const LARGEST_ANSWER: usize = 1 << 20;

/// Who asks.
pub(crate) struct Asker {
    connection: TcpStream,
    question: [u8; 4],
    answer: Vec<u8>,
}

impl Asker {
    /// For answers of so many bytes.
    pub(crate) fn connect(address: &str, bytes: u32) -> Result<Self> {
        let end = clocks::monotonic() + PATIENCE;
        let connection = loop {
            match TcpStream::connect(address) {
                Ok(connection) => break connection,
                Err(error) if clocks::monotonic() > end => {
                    return Err(error).with_context(|| format!("cannot connect to {address}"));
                }
                Err(_) => clocks::sleep_until(clocks::monotonic() + RETRY),
            }
        };
        connection.set_nodelay(true)?;
        Ok(Self { connection, question: bytes.to_be_bytes(), answer: vec![0; usize::try_from(bytes)?] })
    }

    pub(crate) fn ask(&mut self) -> io::Result<()> {
        self.connection.write_all(&self.question)?;
        self.connection.read_exact(&mut self.answer)
    }
}

/// Answers whoever asks, from now on until the program ends.
pub(crate) fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // Whoever has gone asks no more.
            thread::spawn(move || answer(connection));
        }
    });
    Ok(())
}

fn answer(mut connection: TcpStream) -> Result<()> {
    connection.set_nodelay(true)?;
    let (mut question, answer) = ([0; 4], vec![7; LARGEST_ANSWER]);
    loop {
        connection.read_exact(&mut question)?;
        let bytes = usize::try_from(u32::from_be_bytes(question))?;
        connection.write_all(answer.get(..bytes).context("nobody asks for so much")?)?;
    }
}
