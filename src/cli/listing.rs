//! The commands that look and change nothing.

use chrono::Utc;
use drover::api::{
    Credentials, Observation, Page, Plan, Region, Resource, Ring, Server, Subject, Tier, Transition,
};
use drover::client::Client;
use drover::model::{Kind, PublicId, State};
use serde::de::DeserializeOwned;

use super::{Answer, Failure, List, answer, table, work};

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
    let list: List<Server> = pages(client, "/v1/servers", &query, limit).await?;
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
    let list: List<Resource> = pages(client, "/v1/resources", &query, limit).await?;
    answer(&list, json, |list| table::resources(list, Utc::now()))
}

/// `drover show`.
pub async fn show(client: &Client, id: PublicId, json: bool) -> Result<(), Failure> {
    let subject: Answer<Subject> = client.get(&path(id)).await?;
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
    let path = format!("{}/observations", path(id));
    let list: List<Observation> = pages(client, &path, "", limit).await?;
    answer(&list, json, |list| table::observations(list, Utc::now()))
}

/// `drover transitions`.
pub async fn transitions(
    client: &Client,
    id: PublicId,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let path = format!("{}/transitions", path(id));
    let list: List<Transition> = pages(client, &path, "", limit).await?;
    answer(&list, json, |list| table::transitions(list, Utc::now()))
}

/// `drover ring`.
pub async fn ring(client: &Client, json: bool) -> Result<(), Failure> {
    let ring: Answer<Ring> = client.get("/v1/ring").await?;
    answer(&ring, json, |ring| table::ring(ring))
}

/// `drover tiers`.
pub async fn tiers(client: &Client, json: bool) -> Result<(), Failure> {
    let tiers: List<Tier> = client.get("/v1/tiers").await?;
    answer(&tiers, json, table::tiers)
}

/// `drover plans`.
pub async fn plans(client: &Client, json: bool) -> Result<(), Failure> {
    let plans: List<Plan> = client.get("/v1/plans").await?;
    answer(&plans, json, work::plans)
}

/// `drover regions`.
pub async fn regions(client: &Client, json: bool) -> Result<(), Failure> {
    let regions: List<Region> = client.get("/v1/regions").await?;
    answer(&regions, json, |list| work::regions(list, Utc::now()))
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
    let path = format!("{}/credentials", path(id));
    let shown: Answer<Credentials> = client.get(&path).await?;
    answer(&shown, json, |shown| work::credentials(shown))
}

/// Where the API has a subject.
pub fn path(id: PublicId) -> String {
    format!("/v1/{}s/{id}", id.kind)
}

/// Follows a listing's cursors until its end, or until it has `limit` items.
///
/// # Errors
/// If the API cannot be reached, or refuses.
pub async fn pages<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    query: &str,
    limit: usize,
) -> Result<List<T>, Failure> {
    let mut all: List<T> = Page::whole(Vec::new());
    while all.items.len() < limit {
        let most = (limit - all.items.len()).min(PAGE);
        let cursor = all.next_cursor.map(|c| format!("&cursor={c}"));
        let cursor = cursor.unwrap_or_default();
        let path = format!("{path}?limit={most}{query}{cursor}");
        let page: List<T> = client.get(&path).await?;
        all.items.extend(page.items);
        all.next_cursor = page.next_cursor;
        if all.next_cursor.is_none() {
            break;
        }
    }
    Ok(all)
}
