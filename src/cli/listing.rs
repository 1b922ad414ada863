//! The commands that look and change nothing.

use chrono::Utc;
use drover::client::Client;
use drover::model::{Kind, PublicId, State};
use serde_json::{Value, json};

use super::{Failure, answer, table, work};

/// The API's largest page.
const PAGE: usize = 500;

/// `drover servers`.
pub async fn servers(
    client: &Client,
    state: Option<State>,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let query = state.map(|s| format!("&state={s}")).unwrap_or_default();
    let list = pages(client, "/v1/servers", &query, limit).await?;
    answer(&list, json, |list| table::servers(list, Utc::now()))
}

/// `drover resources`.
pub async fn resources(
    client: &Client,
    state: Option<State>,
    server: Option<PublicId>,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let mut query = state.map(|s| format!("&state={s}")).unwrap_or_default();
    if let Some(server) = server {
        query += &format!("&server={server}");
    }
    let list = pages(client, "/v1/resources", &query, limit).await?;
    answer(&list, json, |list| table::resources(list, Utc::now()))
}

/// `drover show`.
pub async fn show(client: &Client, id: PublicId, json: bool) -> Result<(), Failure> {
    let subject = client.get(&path(id)).await?;
    answer(&subject, json, |subject| {
        table::subject(subject, Utc::now())
    })
}

/// `drover observations`.
pub async fn observations(
    client: &Client,
    id: PublicId,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let list = pages(client, &format!("{}/observations", path(id)), "", limit).await?;
    answer(&list, json, |list| table::observations(list, Utc::now()))
}

/// `drover transitions`.
pub async fn transitions(
    client: &Client,
    id: PublicId,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let list = pages(client, &format!("{}/transitions", path(id)), "", limit).await?;
    answer(&list, json, |list| table::transitions(list, Utc::now()))
}

/// `drover ring`.
pub async fn ring(client: &Client, json: bool) -> Result<(), Failure> {
    answer(&client.get("/v1/ring").await?, json, table::ring)
}

/// `drover tiers`.
pub async fn tiers(client: &Client, json: bool) -> Result<(), Failure> {
    answer(&client.get("/v1/tiers").await?, json, table::tiers)
}

/// `drover plans`.
pub async fn plans(client: &Client, json: bool) -> Result<(), Failure> {
    answer(&client.get("/v1/plans").await?, json, work::plans)
}

/// `drover regions`.
pub async fn regions(client: &Client, json: bool) -> Result<(), Failure> {
    answer(&client.get("/v1/regions").await?, json, |regions| {
        work::regions(regions, Utc::now())
    })
}

/// `drover credentials`.
pub async fn credentials(client: &Client, id: PublicId, json: bool) -> Result<(), Failure> {
    match id.kind {
        Kind::Resource => {}
        Kind::Server => {
            return Err(Failure::WrongUse(format!(
                "{id} is a server; credentials are a resource's"
            )));
        }
    }
    let shown = client.get(&format!("{}/credentials", path(id))).await?;
    answer(&shown, json, work::credentials)
}

/// Where the API has a subject.
pub fn path(id: PublicId) -> String {
    format!("/v1/{}s/{id}", id.kind)
}

/// Follows a listing's cursors until its end, or until it has `limit` items.
///
/// # Errors
/// If the API cannot be reached, or refuses.
pub async fn pages(
    client: &Client,
    path: &str,
    query: &str,
    limit: usize,
) -> Result<Value, Failure> {
    let mut items: Vec<Value> = Vec::new();
    let mut next = Value::Null;
    while items.len() < limit {
        let most = (limit - items.len()).min(PAGE);
        let cursor = next
            .as_str()
            .map(|c| format!("&cursor={c}"))
            .unwrap_or_default();
        let mut page = client
            .get(&format!("{path}?limit={most}{query}{cursor}"))
            .await?;
        if let Value::Array(more) = page["items"].take() {
            items.extend(more);
        }
        next = page["next_cursor"].take();
        if next.is_null() {
            break;
        }
    }
    Ok(json!({"items": items, "next_cursor": next}))
}
