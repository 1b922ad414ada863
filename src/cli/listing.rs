//! The commands that look and change nothing.

use chrono::Utc;
use drover::api::{Credentials, Page};
use drover::client::Client;
use drover::model::{PublicId, State};
use serde::de::DeserializeOwned;

use super::follow::resource;
use super::who::Who;
use super::{Failure, List, Session, subject, table, work};

/// The API's largest page.
const PAGE: usize = 500;

/// `drover servers`.
pub async fn servers(to: &Session<'_>, state: Option<State>, limit: usize) -> Result<(), Failure> {
    let query = state.map(|s| format!("&state={s}")).unwrap_or_default();
    let show = |list: &List<_>| table::servers(list, Utc::now());
    to.pages("/v1/servers", &query, limit, show).await
}

/// `drover resources`.
pub async fn resources(
    to: &Session<'_>,
    state: Option<State>,
    server: Option<Who>,
    limit: usize,
) -> Result<(), Failure> {
    let mut query = state.map(|s| format!("&state={s}")).unwrap_or_default();
    if let Some(server) = server {
        query += &format!("&server={}", server.find(&to.client).await?);
    }
    let show = |list: &List<_>| table::resources(list, Utc::now());
    to.pages("/v1/resources", &query, limit, show).await
}

/// `drover show`.
pub async fn show(to: &Session<'_>, who: Who) -> Result<(), Failure> {
    let path = path(who.find(&to.client).await?);
    to.show(&path, |one| subject::shown_whole(one, Utc::now()))
        .await
}

/// `drover observations`.
pub async fn observations(to: &Session<'_>, who: Who, limit: usize) -> Result<(), Failure> {
    let path = format!("{}/observations", path(who.find(&to.client).await?));
    let show = |list: &List<_>| table::observations(list, Utc::now());
    to.pages(&path, "", limit, show).await
}

/// `drover transitions`.
pub async fn transitions(to: &Session<'_>, who: Who, limit: usize) -> Result<(), Failure> {
    let path = format!("{}/transitions", path(who.find(&to.client).await?));
    let show = |list: &List<_>| table::transitions(list, Utc::now());
    to.pages(&path, "", limit, show).await
}

/// `drover ring`.
pub async fn ring(to: &Session<'_>) -> Result<(), Failure> {
    to.show("/v1/ring", table::ring).await
}

/// `drover tiers`.
pub async fn tiers(to: &Session<'_>) -> Result<(), Failure> {
    to.list("/v1/tiers", table::tiers).await
}

/// `drover plans`.
pub async fn plans(to: &Session<'_>) -> Result<(), Failure> {
    to.list("/v1/plans", work::plans).await
}

/// `drover regions`.
pub async fn regions(to: &Session<'_>) -> Result<(), Failure> {
    to.list("/v1/regions", |list| work::regions(list, Utc::now()))
        .await
}

/// `drover credentials`.
pub async fn credentials(to: &Session<'_>, who: Who) -> Result<(), Failure> {
    let id = who.find(&to.client).await?;
    resource(id, "credentials are a resource's")?;
    let path = format!("{}/credentials", path(id));
    to.show::<Credentials>(&path, work::credentials).await
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
