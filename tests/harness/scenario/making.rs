//! A customer asks for a database, gets one, and gives it back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::text;
use crate::{Deployment, until};

const LONGEST: Duration = Duration::from_secs(90);

/// Tells how long it took until the database was in service.
pub(super) async fn make(drover: &mut Deployment, tell: &mut impl FnMut(&str)) -> Result<f64> {
    let wanted = json!({"name": "orders", "plan": "starter"});
    let asked = drover.api.post("/v1/resources", &wanted).await?;
    let id = text(&asked, "id");
    ensure!(
        asked["state"] == "creating",
        "expected it to be in creation; seen: {asked}"
    );
    tell("a customer asks for a database `orders`, plan starter; there is no server for it yet");
    let seconds = drover.turn_until(&id, "available", LONGEST).await?;
    let credentials = format!("/v1/resources/{id}/credentials");
    let url = text(&drover.api.get(&credentials).await?, "url");
    ensure!(!url.is_empty(), "expected a URL to connect to");
    let made = drover.api.get(&format!("/v1/resources/{id}")).await?;
    let server = text(&made, "server");
    tell(&format!(
        "orders: a server was made, a cluster with TLS and roles on it; available ({seconds:.1} s)"
    ));
    drover
        .api
        .delete(&format!("/v1/resources/{id}?confirm=orders"))
        .await?;
    let (_, gone) = until("nothing left of orders", LONGEST, || async {
        let left = drover.subjects().await?;
        let left: Vec<String> = left
            .iter()
            .filter(|s| [id.as_str(), &server].contains(&text(s, "id").as_str()))
            .map(|s| format!("{} {}", text(s, "name"), text(s, "state")))
            .collect();
        Ok(if left.is_empty() {
            Ok(())
        } else {
            Err(left.join(", "))
        })
    })
    .await
    .context("the customer gave the database back")?;
    tell(&format!(
        "orders: destroyed, and the server that was made for it too ({gone:.1} s)"
    ));
    Ok(seconds)
}
