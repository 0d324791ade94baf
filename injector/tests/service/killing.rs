//! The service, or a campaign's process, is killed: its injections end, and nothing is left.

use ballast_api::injector::CampaignEnd;
use nix::sys::signal::Signal;

use crate::{
    shared::{children_of, signal},
    support::{ACT, Service, Stage, begun, over},
};

const KINDS: [&str; 2] =
    ["duration = '50s'\nkind = 'cpu'\nintensity = '0.1'", "duration = '50s'\nkind = 'pause'"];

#[tokio::test]
async fn a_killed_service_takes_its_injections_along() {
    let Some(stage) = Stage::set("killed") else { return };
    for keys in KINDS {
        let service = stage.serve();
        let client = service.client(Some(ACT));
        let id = client.begin(&stage.order(keys)).await.unwrap().state.unwrap().id;
        begun(&client, &id).await;
        assert!(!stage.left().is_empty(), "an injection is there");
        service.signal(Signal::SIGKILL);
        assert_eq!(service.end(), None);
        stage.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_killed_campaign_takes_its_injections_along_and_is_told() {
    let Some(stage) = Stage::set("killed-campaign") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let id = client.begin(&stage.order(KINDS[0])).await.unwrap().state.unwrap().id;
    begun(&client, &id).await;
    signal(campaign_of(&service), Signal::SIGKILL);
    let state = over(&client, &id).await;
    assert_eq!(state.ended, Some(CampaignEnd::Died));
    assert_eq!((state.begun, state.completed, state.failed), (1, 0, 1), "{state:?}");
    stage.assert_nothing_left().await;
}

/// The process of the only campaign.
fn campaign_of(service: &Service) -> u32 {
    children_of(service.pid())[0]
}
