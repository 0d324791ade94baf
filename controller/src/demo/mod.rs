//! The main job in a few minutes: train, put real processes under load, contend one, find it, mitigate, clean up.

mod companions;
mod outcome;
mod real;
mod run_folder;
mod score;
mod script;
mod simulated;
mod stage;
mod stolen;

pub use companions::Programs;
pub use outcome::{Outcome, Phases, Run};
pub use real::{NotPossible, RealStage, Setting};
pub use run_folder::{RunFolder, janitor, sweep, wait_until_gone};
pub use score::{FinishedRequest, Interval, Score, Seen};
pub use script::{Listener, Played, Script, WAITING, play};
pub use simulated::SimulatedStage;
pub use stage::{Contention, Mode, Stage};
pub use stolen::CpuTicks;
