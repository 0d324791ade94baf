//! Callers that go away before they are answered: what they asked for is run and ends, or never begins.

use std::time::Duration;

use ballast_api::injector::{CampaignOrder, CampaignState};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::support::{ACT, Service, Stage, await_true, over};

/// Moments at which a caller goes away, from the first to that of the answer.
const MOMENTS: u32 = 40;

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_campaign_that_nobody_runs() {
    let Some(stage) = Stage::set("gone") else { return };
    let service = stage.serve();
    let client = service.client(Some(ACT));
    let order = stage.order("duration = '100ms'\nkind = 'pause'");
    let begins_at = Instant::now();
    let own = client.begin(&order).await.unwrap().state.unwrap().id;
    let whole = begins_at.elapsed();
    over(&client, &own).await;
    for moment in 0..=MOMENTS {
        go_away(&service, &order, whole * moment / MOMENTS).await;
        await_true("all campaigns are over", async || running(&service).await == 0).await;
    }
    assert!(campaigns(&service).await.len() > 1, "none of them began: nothing was tried");
    // All places are free.
    let late = CampaignOrder { campaign: order.campaign.replace("'0s'", "'50s'"), ..order };
    for _ in 0..client.info().await.unwrap().campaigns_at_a_time {
        client.begin(&late).await.unwrap();
    }
    for campaign in campaigns(&service).await {
        client.end(&campaign.id).await.unwrap();
        over(&client, &campaign.id).await;
    }
    assert!(service.get("/metrics").await.contains("ballast_injector_campaigns 0\n"));
    stage.assert_nothing_left().await;
}

/// Asks for a campaign, and closes the connection so much `later`.
async fn go_away(service: &Service, order: &CampaignOrder, later: Duration) {
    let body = serde_json::to_string(order).unwrap();
    let host = service.url.trim_start_matches("http://");
    let request = format!(
        "POST /v1/campaigns HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ACT}\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    sleep(later).await;
}

async fn campaigns(service: &Service) -> Vec<CampaignState> {
    serde_json::from_str(&service.get("/v1/campaigns").await).unwrap()
}

async fn running(service: &Service) -> usize {
    campaigns(service).await.iter().filter(|campaign| campaign.ended.is_none()).count()
}
