//! The program `ballast-injector`: parse, do, answer with an exit code.
//!
//! Must not know more than which function serves which subcommand.

use std::{
    env::args_os,
    io::{self, BufReader},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use ballast_api::SystemClock;
use ballast_injector::{
    ExitStatus, InjectorError,
    campaign::{self, cli::CampaignArgs, run},
    cli::{Cli, Command, Injection, RestoreArgs},
    console::{Console, print_json, print_line, warn},
    journal::Journal,
    kinds::Kind,
    load, manual,
    place::Place,
    process::{janitor, supervisor, worker},
    program,
    report::Log,
    restore::{Restored, restore},
    service,
};
use ballast_kernel::Hierarchy;
use clap::{Args, Parser};
use nix::unistd::geteuid;

fn main() -> ExitCode {
    program::show_by_name();
    let done = match Cli::parse().command {
        Command::Cpu(asked) => inject(asked),
        Command::Disk(asked) => inject(asked),
        Command::Membw(asked) => inject(asked),
        Command::Llc(asked) => inject(asked),
        Command::Memory(asked) => inject(asked),
        Command::Pause(asked) => inject(asked),
        Command::Campaign(arguments) => campaign(&arguments),
        Command::Load(arguments) => load::run(&arguments, &SystemClock),
        Command::NetBandwidth(asked) => inject(asked),
        Command::NetDelay(asked) => inject(asked),
        Command::NetLoss(asked) => inject(asked),
        // The words after the program's name and the subcommand's.
        Command::Serve(arguments) => service::run(&arguments, args_os().skip(2)).map_err(Into::into),
        Command::Restore(arguments) => restore_all(&arguments),
        Command::Man { subcommand } => manual::write_page(subcommand.as_deref(), &mut io::stdout())
            .map(|()| ExitStatus::Done)
            .map_err(Into::into),
        Command::Completions { shell } => {
            manual::write_completions(shell, &mut io::stdout()).map(|()| ExitStatus::Done).map_err(Into::into)
        }
        Command::Worker => worker::run(BufReader::new(io::stdin()), &mut io::stdout(), &SystemClock)
            .map(|()| ExitStatus::Done),
        Command::Janitor { id, at_most, state_dir } => {
            janitor::run(io::stdin(), Duration::from_secs(at_most), &Journal::new(state_dir), &id)
                .map(|()| ExitStatus::Done)
                .map_err(Into::into)
        }
    };
    let status = done.unwrap_or_else(|error| {
        warn(&format!("{error:#}"));
        let status = error.downcast_ref().map_or(ExitStatus::Failed, InjectorError::exit_status);
        if status == ExitStatus::NotPermitted && !geteuid().is_root() {
            warn("this user is not root, who alone may change cgroups, others' processes and networks: try it with sudo");
        }
        status
    });
    ExitCode::from(status.code())
}

fn inject<K, P>(Injection { place, common, kind }: Injection<K, P>) -> Result<ExitStatus>
where
    K: Kind + Args + 'static,
    P: Into<Place> + Args,
{
    let hierarchy = Hierarchy::find("/proc/self/mountinfo".as_ref()).map_err(InjectorError::from)?;
    let log = common.log.as_deref().map(Log::open).transpose()?;
    let restored = restore(&Journal::new(common.state_dir.clone()))?;
    if !restored.removed.is_empty() || !restored.failed.is_empty() {
        warn(&format!("an earlier injection was cut short. {}", in_words(&restored)));
    }
    let mut console = Console::new(common.json, common.live, log);
    Ok(supervisor::run(
        &common.request(place.into(), Box::new(kind)),
        &hierarchy,
        &SystemClock,
        &mut console,
    )?
    .into())
}

fn campaign(arguments: &CampaignArgs) -> Result<ExitStatus> {
    if arguments.example {
        print_line(campaign::EXAMPLE.trim_end());
        return Ok(ExitStatus::Done);
    }
    let campaign = match arguments.campaign() {
        Ok(campaign) => campaign,
        Err(problems) => {
            problems.iter().for_each(|problem| warn(problem));
            return Ok(ExitStatus::Usage);
        }
    };
    if arguments.dry_run {
        campaign::print_schedule(&campaign, arguments.json);
        return Ok(ExitStatus::Done);
    }
    Ok(run::run(&campaign, arguments)?)
}

fn restore_all(arguments: &RestoreArgs) -> Result<ExitStatus> {
    let restored = restore(&Journal::new(arguments.state_dir.clone()))?;
    if arguments.json {
        print_json(&restored);
    } else {
        print_line(&in_words(&restored));
    }
    Ok(if restored.failed.is_empty() { ExitStatus::Done } else { ExitStatus::LeftBehind })
}

fn in_words(restored: &Restored) -> String {
    let Restored { removed, running, failed } = restored;
    let mut words = match removed.len() {
        0 => "Nothing was removed".to_owned(),
        1 => "Removed what one injection left behind".to_owned(),
        more => format!("Removed what {more} injections left behind"),
    };
    words = format!("{words}; {} running.", running.len());
    for problem in failed {
        words = format!("{words}\nNot removed: {problem}");
    }
    words
}
