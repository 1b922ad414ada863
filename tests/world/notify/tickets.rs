//! Customers' tickets: by webhook and in Zendesk.

use drover::model::{Deed, IncidentKind, MessageState, Provider};
use drover_tests::{Mood, Shows, WebhookReceiver, Zendesk};
use serde_json::json;

use super::world::{World, receiver, webhook, zendesk};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_keeps_its_id() {
    let world = World::new().await;
    let receiver = receiver().await;
    receiver.then(&[Mood::Status(502)]);
    let incident = world.incident(IncidentKind::ConnectionsExhausted).await;
    let opened = world.ticket(incident, Deed::Trigger).await;
    let over = world.ticket(incident, Deed::Resolve).await;
    let workers = world.work(webhook(&receiver));
    let message = world.delivered(opened).await;
    assert_eq!(message.delivered_by, Some(Provider::Webhook));
    world.delivered(over).await;
    workers.end().await;
    assert_eq!(receiver.refused(), 0);
    let received = receiver.received();
    let told: Vec<(&str, &str)> = received
        .iter()
        .map(|r| (r.id.as_str(), r.event["type"].as_str().unwrap()))
        .collect();
    let (first, last) = (opened.public(), over.public());
    assert_eq!(told[0], (first.as_str(), "incident.opened"));
    assert_eq!(told[1..], [(last.as_str(), "incident.resolved")]);
    let data = &received[0].event["data"];
    data.shows(json!({"incident": incident.public(), "kind": "connections_exhausted"}));
    assert_eq!(data["subject"]["name"], "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_know_the_secret_refuses() {
    let world = World::new().await;
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let receiver = WebhookReceiver::start(other).await.unwrap();
    let incident = world.incident(IncidentKind::ConnectionsExhausted).await;
    let id = world.ticket(incident, Deed::Trigger).await;
    let workers = world.work(webhook(&receiver));
    world.becomes(id, MessageState::Dead).await;
    workers.end().await;
    assert_eq!((receiver.refused(), receiver.received().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_in_zendesk_is_opened_once_and_solved() {
    let world = World::new().await;
    let token = "token-of-the-agent";
    let desk = Zendesk::start("ops@example.com", token).await.unwrap();
    // The first answer is lost, though the ticket is made.
    let config = zendesk(&desk.url(), token);
    let lost = std::time::Duration::from_secs(15);
    desk.then(&[Mood::Slow(lost)]);
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let opened = world.ticket(incident, Deed::Trigger).await;
    let workers = world.work(config);
    let message = world.delivered(opened).await;
    assert_eq!(message.attempts, 2);
    assert_eq!(message.reference.as_deref(), Some("35000"));
    let over = world.ticket(incident, Deed::Resolve).await;
    world.delivered(over).await;
    workers.end().await;
    let tickets = desk.tickets();
    assert_eq!(tickets.len(), 1, "{tickets:?}");
    let ticket = &tickets[&35_000];
    assert_eq!(ticket.status, "solved");
    assert_eq!(ticket.comments.len(), 2);
    assert_eq!(ticket.fields["external_id"], incident.public());
    assert_eq!(
        world.told(incident).await,
        [
            "ticket not delivered yet: Zendesk gave no answer within 10s; it is tried again for 24 h",
            "ticket delivered by Zendesk at attempt 2: ticket 35000",
            "ticket's end delivered by Zendesk: ticket 35000",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_zendesk_refuses_is_told_and_not_shown() {
    let world = World::new().await;
    let desk = Zendesk::start("ops@example.com", "another").await.unwrap();
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let opened = world.ticket(incident, Deed::Trigger).await;
    let over = world.ticket(incident, Deed::Resolve).await;
    let workers = world.work(zendesk(&desk.url(), "swordfish"));
    world.becomes(opened, MessageState::Dead).await;
    // There is no ticket to be solved, and nothing is wrong with that.
    world.delivered(over).await;
    workers.end().await;
    let told = world.told(incident).await;
    assert!(told[0].starts_with("ticket refused by Zendesk: 401 Couldn't authenticate you; see"));
    assert!(told[1].ends_with("no ticket was made, so there is none to change"));
    assert!(!world.record().await.contains("swordfish"));
}
