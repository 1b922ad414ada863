//! The page at `/`: the herd by state and the ring's numbers, and nothing that
//! needs a token.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use chrono::Utc;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Web;
use super::health::{complaints, worries};
use crate::api::count;
use crate::model::{IncidentKind, IncidentState, Kind, Mode, State as SubjectState};
use crate::store::operations::AtWork;
use crate::store::queue::Queue;
use crate::store::ring::Ring;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// `GET /`.
pub async fn show(State(web): State<Web>) -> impl IntoResponse {
    let (status, main) = match web.ring.recent(&web.pool).await {
        Ok(ring) => (StatusCode::OK, herd(&ring)),
        Err(error) => {
            tracing::warn!(%error, "the page has no numbers to show");
            (StatusCode::SERVICE_UNAVAILABLE, no_database())
        }
    };
    let nonce = format!("{:032x}", rand::random::<u128>());
    let headers: [(HeaderName, String); 2] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".into()),
        (
            header::CONTENT_SECURITY_POLICY,
            format!(
                "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
                 connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            ),
        ),
    ];
    (status, headers, frame(&nonce, &main).into_string())
}

fn frame(nonce: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                noscript { meta http-equiv="refresh" content="2"; }
                link rel="icon" href="data:,";
                title { "drover" }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "drover" }
                    p id="stale" role="alert" hidden {
                        "stale: drover web does not answer"
                    }
                }
                (main)
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn no_database() -> Markup {
    html! {
        main {
            p.bad { "The control database does not answer." }
            (time())
        }
    }
}

fn herd(ring: &Ring) -> Markup {
    let complaints = complaints(ring);
    html! {
        main {
            @if complaints.is_empty() {
                p.good { "The ring turns." }
            }
            @for why in complaints.iter().chain(&worries(ring)) {
                p.bad { (why) }
            }
            (mode(ring))
            section {
                h2 { "Herd" }
                table {
                    thead {
                        tr {
                            th scope="col" { "state" }
                            @for kind in Kind::ALL { th.number scope="col" { (kind) "s" } }
                        }
                    }
                    tbody {
                        @for state in SubjectState::ALL {
                            tr class=(state) {
                                th scope="row" { (state) }
                                @for kind in Kind::ALL {
                                    td.number { (count(&ring.herd, kind.as_str(), state.as_str())) }
                                }
                            }
                        }
                    }
                }
            }
            section {
                h2 { "Ring" }
                table {
                    tbody {
                        (number("live subjects", &ring.live_subjects.to_string()))
                        (number("tokens", &ring.tokens.to_string()))
                        (number("lost or extra tokens", &ring.astray.to_string()))
                        (number("laps in the last minute", &ring.laps_last_minute.to_string()))
                        (number("oldest observation", &oldest(ring)))
                        (number("clock", clock(ring)))
                    }
                }
            }
            (queues(ring))
            (incidents(ring))
            (operations(ring))
            (time())
        }
    }
}

fn clock(ring: &Ring) -> &'static str {
    match ring.clock_leads {
        true => "leads",
        false => "none leads",
    }
}

/// What everybody who looks at the page has to know first: that nothing is mended.
fn mode(ring: &Ring) -> Markup {
    let apart = |scope: &str| -> i64 {
        let modes = ring.modes.get(scope);
        modes.into_iter().flat_map(|m| m.values()).sum()
    };
    let (tiers, subjects) = (apart("tier"), apart("subject"));
    html! {
        @match ring.mode {
            Mode::Act => {}
            Mode::Advise => p.mode { "Mode advise: drover says what it would do, and does nothing." }
            Mode::Hold => p.mode { "Mode hold: drover feels and thinks only; nothing is mended." }
        }
        @if tiers + subjects > 0 {
            p.mode { "Not mended as usual: tiers " (tiers) ", single subjects " (subjects) "." }
        }
        @if ring.incidents.contains_key(IncidentKind::Blind.as_str()) {
            p.bad { "Blind: too much fails at once, in a zone or in the herd, and no resolver acts there." }
        }
    }
}

fn incidents(ring: &Ring) -> Markup {
    let open = || {
        let all = IncidentState::ALL.iter();
        all.filter(|state| **state != IncidentState::Resolved)
    };
    html! {
        section.wide {
            h2 { "Open incidents" }
            @if ring.incidents.is_empty() {
                p { "None." }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { "kind" }
                            @for state in open() { th.number scope="col" { (words(state.as_str())) } }
                        }
                    }
                    tbody {
                        @for (kind, states) in &ring.incidents {
                            tr {
                                th scope="row" { (words(kind)) }
                                @for state in open() {
                                    td.number class=(state) {
                                        (states.get(state.as_str()).copied().unwrap_or_default())
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whoever looks at the page has no token: how far things are, and not whose they are.
fn operations(ring: &Ring) -> Markup {
    let all: i64 = ring.operations.values().flat_map(|n| n.values()).sum();
    let shown = i64::try_from(ring.at_work.len()).unwrap_or(i64::MAX);
    html! {
        section.wide {
            h2 { "Open operations" }
            @if ring.at_work.is_empty() {
                p { "None." }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { "kind" }
                            th scope="col" { "progress" }
                            th.number scope="col" { "opened" }
                        }
                    }
                    tbody {
                        @for one in &ring.at_work {
                            tr {
                                th scope="row" { (words(one.kind.as_str())) }
                                @if one.stuck {
                                    td.bad { (how_far(one)) ", stuck: needs a human" }
                                } @else {
                                    td { (how_far(one)) }
                                }
                                td.number { (format!("{:.0} s ago", one.age_s)) }
                            }
                        }
                    }
                }
                @if all > shown {
                    p { "… and " (all - shown) " more." }
                }
            }
        }
    }
}

fn how_far(one: &AtWork) -> String {
    let name = words(&one.step_name);
    if one.waits {
        "waits for its maintenance window".into()
    } else if one.steps == 0 {
        name
    } else {
        let step = one.step.saturating_add(1).min(one.steps);
        format!("step {step} of {}: {name}", one.steps)
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn queues(ring: &Ring) -> Markup {
    html! {
        section {
            h2 { "Queues" }
            table {
                thead {
                    tr {
                        th scope="col" { "queue" }
                        th.number scope="col" { "waiting" }
                        th.number scope="col" { "at work" }
                        th.number scope="col" { "workers" }
                    }
                }
                tbody {
                    @for queue in Queue::ALL {
                        tr {
                            th scope="row" { (queue) }
                            td.number { (count(&ring.queues, queue.as_str(), "Pending")) }
                            td.number { (count(&ring.queues, queue.as_str(), "Queued")) }
                            td.number {
                                (ring.workers.get(queue.as_str()).copied().unwrap_or_default())
                            }
                        }
                    }
                }
            }
        }
    }
}

fn number(what: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (what) } td.number { (value) } } }
}

fn oldest(ring: &Ring) -> String {
    ring.oldest_observation_s
        .map_or("none yet".into(), |age| format!("{age:.1} s ago"))
}

fn time() -> Markup {
    html! { footer { "as of " (Utc::now().format("%Y-%m-%d %H:%M:%S")) " UTC" } }
}
