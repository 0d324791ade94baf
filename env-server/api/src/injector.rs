//! What travels between the master and a node's injector, as JSON under `/v1`.

use serde::{Deserialize, Serialize};

use crate::{clock::UnixNanos, whole};

/// The answer to `GET /v1/injector`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InjectorInfo {
    /// The node's name.
    pub node: String,
    /// Version of the injector.
    pub software_version: String,
    /// Cgroups that may be injected into, with all below them; and beside with cpu, on their processors.
    pub targets: Vec<String>,
    /// Whether the node as a whole may be, and so may be injected beside those cgroups with any kind.
    pub whole_node: bool,
    /// How many campaigns may run at a time.
    pub campaigns_at_a_time: u64,
}

/// The body of `POST /v1/campaigns`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CampaignOrder {
    /// The campaign, as the text of its TOML file: `ballast-injector campaign --example` prints one. At most 2000 injections are
    /// taken.
    pub campaign: String,
    /// Of all chance in it; absent for the file's.
    #[serde(default, deserialize_with = "whole::optional", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(maximum = 18_446_744_073_709_551_615_u64))]
    pub seed: Option<u64>,
    /// How long it may go on without renewal, in seconds; more than 0 and at most 3600. A campaign whose owner died ends.
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0, maximum = 3600))]
    pub lease_seconds: f64,
    /// Check and answer the schedule, but do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The body of `PUT /v1/campaigns/ID/lease`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CampaignLease {
    /// How long it may go on from now, in seconds; more than 0 and at most 3600.
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0, maximum = 3600))]
    pub lease_seconds: f64,
}

/// The longest lease, in seconds.
pub const LONGEST_LEASE_SECONDS: f64 = 3600.0;

/// The answer to a campaign that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CampaignOutcome {
    /// The campaign that has begun; absent for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CampaignState>,
    /// What happens when, in the order of the begins.
    pub schedule: Vec<ScheduledInjection>,
}

/// One injection, as it will be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScheduledInjection {
    /// Counted from 1, in the order of their begins.
    pub number: u64,
    /// From the campaign's begin, in milliseconds.
    pub at_ms: u64,
    /// How long, in milliseconds.
    pub duration_ms: u64,
    /// What the injector is asked for: kind, place, intensity and options, as on its command line.
    pub arguments: Vec<String>,
}

/// How a campaign is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CampaignState {
    /// Its id on this node.
    pub id: String,
    /// Its name, as its file has it: at most 64 characters.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub name: String,
    /// When it was accepted.
    pub begun_at_unix_nanos: UnixNanos,
    /// Why it is over; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<CampaignEnd>,
    /// Injections in all.
    pub scheduled: u64,
    /// Injections that have begun.
    pub begun: u64,
    /// Injections that are over, as asked.
    pub completed: u64,
    /// Injections that are over, otherwise: failed, or cut short.
    pub failed: u64,
    /// Seconds until it ends unless it is renewed; absent when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_remaining_seconds: Option<f64>,
}

/// Why a campaign is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CampaignEnd {
    /// All of it was done.
    Completed,
    /// Somebody asked.
    Requested,
    /// Nobody renewed its lease.
    LeaseExpired,
    /// The injector ends.
    Shutdown,
    /// Its process ended before its time.
    Died,
}

/// One injection that is over: the ground truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InjectionRecord {
    /// Its number in the schedule.
    pub number: u64,
    /// What was asked and achieved, as a line of the injector's log.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub report: serde_json::Value,
}
