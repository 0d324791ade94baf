//! What the simulator promises, seen from outside.

// `cfg(test)` always holds here; it tells the lints that helpers are tests too.
#[cfg(test)]
mod contention;
#[cfg(test)]
mod determinism;
#[cfg(test)]
mod known_answers;
#[cfg(test)]
mod node;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod support;
#[cfg(test)]
mod traces;
