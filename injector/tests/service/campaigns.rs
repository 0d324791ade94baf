//! Campaigns that are taken: what is told of them, and how they end.

use std::{fs, time::Duration};

use ballast_api::injector::{CampaignEnd, CampaignLease, CampaignOrder};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{ACT, OBSERVE, Stage, begun, over};

const LONG: &str = "duration = '50s'\nkind = 'cpu'\nintensity = '0.1'";

#[tokio::test]
async fn a_campaign_is_done_and_its_ground_truth_told() {
    let Some(stage) = Stage::set("done") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let order = stage.order("duration = '500ms'\nkind = 'cpu'\nintensity = '0.2'");
    let outcome = client.begin(&order).await.unwrap();
    assert_eq!(outcome.schedule.len(), 1);
    let id = outcome.state.unwrap().id;
    let state = over(&client, &id).await;
    assert_eq!(
        (state.ended, state.begun, state.completed),
        (Some(CampaignEnd::Completed), 1, 1),
        "{state:?}"
    );
    let records = service.client(Some(OBSERVE)).injections(&id).await.unwrap();
    let report = &records[0].report;
    assert_eq!((records.len(), &report["kind"], &report["ending"]), (1, &"cpu".into(), &"completed".into()));
    assert!(report["achieved"].as_f64().unwrap() > 0.0 && report["label"] == "test#1", "{report}");
    let logged: Value = serde_json::from_str(fs::read_to_string(stage.log()).unwrap().trim()).unwrap();
    assert_eq!(logged["id"], report["id"], "the operator's log has it too");
    stage.assert_nothing_left().await;
}

#[tokio::test]
async fn a_dry_run_tells_the_schedule_of_a_seed_and_does_nothing() {
    let Some(stage) = Stage::set("dry") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let campaign = format!(
        "duration = '1h'\n[[random]]\nkinds = [{{ kind = 'pause' }}]\nplaces = [{{ target = '{}' }}]\nmean_gap = \
         '10s'\nduration = '1s..2s'\n",
        stage.target()
    );
    let order = |seed| CampaignOrder {
        campaign: campaign.clone(),
        seed: Some(seed),
        lease_seconds: 1.0,
        dry_run: true,
    };
    let schedules =
        [client.begin(&order(1)).await, client.begin(&order(1)).await, client.begin(&order(2)).await];
    let [first, same, other] = schedules.map(|outcome| outcome.unwrap().schedule);
    assert!(first.len() > 100 && first == same && first != other);
    let again = client.begin(&order(1)).await.unwrap();
    assert_eq!(again.state, None);
    assert_eq!(service.client(Some(OBSERVE)).info().await.unwrap().targets, [stage.target()]);
}

#[tokio::test]
async fn a_campaign_that_nobody_renews_ends() {
    let Some(stage) = Stage::set("lease") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let short = CampaignOrder { lease_seconds: 1.5, ..stage.order(LONG) };
    let id = client.begin(&short).await.unwrap().state.unwrap().id;
    begun(&client, &id).await;
    // Three times as long as its first lease.
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let state = client.renew(&id, CampaignLease { lease_seconds: 1.5 }).await.unwrap();
        assert_eq!(state.ended, None);
    }
    let state = over(&client, &id).await;
    assert_eq!(state.ended, Some(CampaignEnd::LeaseExpired), "{state:?}");
    assert_eq!((state.begun, state.completed, state.failed), (1, 0, 1), "cut short: {state:?}");
    stage.assert_nothing_left().await;
    assert_eq!(client.injections(&id).await.unwrap()[0].report["ending"], "stdin_closed");
}

#[tokio::test]
async fn a_campaign_is_called_off() {
    let Some(stage) = Stage::set("called-off") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let id = client.begin(&stage.order(LONG)).await.unwrap().state.unwrap().id;
    begun(&client, &id).await;
    client.end(&id).await.unwrap();
    let state = over(&client, &id).await;
    assert_eq!(state.ended, Some(CampaignEnd::Requested));
    assert_eq!((state.begun, state.completed, state.failed), (1, 0, 1), "cut short: {state:?}");
    stage.assert_nothing_left().await;
    // And at any moment of its beginning.
    for milliseconds in [0, 0, 1, 3, 10, 30, 100] {
        let id = client.begin(&stage.order(LONG)).await.unwrap().state.unwrap().id;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        client.end(&id).await.unwrap();
        let state = over(&client, &id).await;
        assert_eq!(state.ended, Some(CampaignEnd::Requested), "{milliseconds} ms");
        assert_eq!((state.completed, state.failed), (0, state.begun), "{milliseconds} ms");
    }
    stage.assert_nothing_left().await;
}

#[tokio::test]
async fn a_service_that_ends_ends_its_campaigns_first() {
    let Some(stage) = Stage::set("ends") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let id = client.begin(&stage.order(LONG)).await.unwrap().state.unwrap().id;
    begun(&client, &id).await;
    service.signal(Signal::SIGTERM);
    assert_eq!(service.end(), Some(0));
    assert_eq!(stage.left(), Vec::<String>::new(), "at once");
}
