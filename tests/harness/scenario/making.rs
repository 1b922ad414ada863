//! A customer asks for a database, gets one, and gives it back.

use anyhow::{Context, Result, ensure};
use drover::api::{CreateResource, Credentials, Resource, Subject};
use drover::model::State;

use crate::{Deployment, PATIENCE, until, when};

/// Tells how long it took until the database was in service.
pub(super) async fn make(drover: &mut Deployment, tell: &mut impl FnMut(&str)) -> Result<f64> {
    let wanted = CreateResource {
        name: "orders".into(),
        plan: "starter".into(),
        cloud: None,
        region: None,
        zone: None,
        maintenance_window: None,
        durability: None,
        password: None,
    };
    let asked: Subject = drover.api.post("/v1/resources", &wanted).await?;
    let id = asked.core().id.to_string();
    ensure!(
        asked.core().state == State::Creating,
        "expected it to be in creation; seen: {asked:?}"
    );
    tell("a customer asks for a database `orders`, plan starter; there is no server for it yet");
    let seconds = drover.turn_until(&id, "available", PATIENCE).await?;
    let credentials = format!("/v1/resources/{id}/credentials");
    let credentials: Credentials = drover.api.get(&credentials).await?;
    ensure!(!credentials.url.is_empty(), "expected a URL to connect to");
    let made: Resource = drover.api.get(&format!("/v1/resources/{id}")).await?;
    tell(&format!(
        "orders: a server was made, a cluster with TLS and roles on it; available ({seconds:.1} s)"
    ));
    drover
        .api
        .delete::<Subject>(&format!("/v1/resources/{id}?confirm=orders"))
        .await?;
    let (_, gone) = until("nothing left of orders", PATIENCE, || async {
        let left = drover.subjects().await?;
        let left: Vec<String> = left
            .iter()
            .map(Subject::core)
            .filter(|core| [made.core.id, made.server].contains(&core.id))
            .map(|core| format!("{} {}", core.name, core.state))
            .collect();
        when(left.is_empty(), left.join(", "))
    })
    .await
    .context("the customer gave the database back")?;
    tell(&format!(
        "orders: destroyed, and the server that was made for it too ({gone:.1} s)"
    ));
    Ok(seconds)
}
