//! The step behind which the databases of a server have certificates for the address that it
//! has now: a cloud may have given it another, and customers verify it.

use std::time::Duration;

use drover::model::Kind;
use drover::store::operations::Fact;
use drover::store::subjects::{self, Page};

use super::follow::node;
use super::kind::{Context, Operation, Outcome, Step, Work, step};
use super::script;
use crate::host::scripts::RENEW_CERTIFICATE;
use crate::postgres;

/// The step.
pub(super) const fn step<O: Operation>() -> Step<O> {
    step!("certificates", "have its databases show certificates for its address" => renew)
}

const SOON: Duration = Duration::from_secs(1);
/// So long a server that has just been started may not let anybody in.
const BOOTS: Duration = Duration::from_secs(120);
/// So many databases are looked at.
const MOST: i64 = 1000;

/// Only certificates that drover made, and pinned, are renewed. Others are somebody's own.
async fn renew(turn: &Context<'_>) -> Work {
    let server = turn.server()?;
    let page = Page {
        server: Some(server.subject.id),
        limit: MOST,
        ..Page::default()
    };
    let mut db = turn.tools.pool.acquire().await?;
    let databases = subjects::list(&mut db, Kind::Resource, &page).await?;
    drop(db);
    let mut done = Outcome::done("its databases have certificates for its address");
    for known in databases {
        let (resource, _) = node(turn, known.subject().id).await?;
        let pinned = resource.tls_root_cert.as_deref();
        let pinned = pinned.filter(|_| resource.customer.is_some());
        if pinned.is_none_or(|pem| postgres::is_for(pem, &server.address)) {
            continue;
        }
        let on = (&*resource, server);
        let said = script::at_cluster(turn, on, RENEW_CERTIFICATE, &[&server.address], b"").await;
        let said = match said {
            Ok(said) => said,
            Err(e) if turn.waited() < BOOTS => {
                return Err(Outcome::again(SOON, e.to_string()));
            }
            Err(e) => return Err(e.into()),
        };
        if !said.text().contains("BEGIN CERTIFICATE") {
            return Err(Outcome::failed("its certificate cannot be read"));
        }
        done.note = format!("its databases show certificates for {}", server.address);
        done = done.with(Fact::CertificateOf {
            resource: resource.subject.id,
            pem: format!("{}\n", said.text()),
        });
    }
    Ok(done)
}
