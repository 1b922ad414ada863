//! EC2's instance metadata service, version 2, as each machine sees it at 169.254.169.254:
//! what cloud-init reads its instance id, address, keys and user data from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use nix::sched::{CloneFlags, setns};
use rand::RngExt as _;
use tokio::task::AbortHandle;

use crate::network::METADATA;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// Six hours, the longest that a token is good for.
const LONGEST: u64 = 21_600;
/// A machine that asks for tokens and never uses them keeps no more than these.
const MOST_TOKENS: usize = 1_000;

/// What a machine is told of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    pub instance_id: String,
    pub host_name: String,
    pub address: Ipv4Addr,
    pub mac: String,
    pub zone: String,
    pub public_keys: Vec<String>,
    pub user_data: Option<String>,
}

struct Service {
    facts: Mutex<Facts>,
    tokens: Mutex<HashMap<String, Instant>>,
}

/// A listener that ends when this goes.
pub struct Serving {
    task: AbortHandle,
    service: Arc<Service>,
}

impl Serving {
    /// From now on this is what it tells.
    pub fn tell(&self, facts: Facts) {
        *self.service.facts.lock().expect("nobody panics with it") = facts;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves in a machine's network namespace.
///
/// # Errors
/// If that namespace is not there, or its address is taken.
pub async fn serve(namespace: PathBuf, facts: Facts) -> anyhow::Result<Serving> {
    let listener = tokio::task::spawn_blocking(move || listen(&namespace)).await??;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = Arc::new(Service {
        facts: Mutex::new(facts),
        tokens: Mutex::default(),
    });
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&service));
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(Serving {
        task: task.abort_handle(),
        service,
    })
}

/// A socket belongs for ever to the namespace that it was made in, and a namespace is a
/// thread's: so one thread goes there, and comes back as nothing but the socket.
fn listen(namespace: &std::path::Path) -> anyhow::Result<TcpListener> {
    let file = File::open(namespace).with_context(|| namespace.display().to_string())?;
    std::thread::spawn(move || -> anyhow::Result<TcpListener> {
        setns(file, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
        TcpListener::bind((METADATA, 80)).context("the metadata service's address")
    })
    .join()
    .map_err(|_| anyhow!("the thread in the namespace broke"))?
}

async fn answer(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let refused = |status: StatusCode| (status, String::new());
    // Somebody was talked into asking on another's behalf: version 2 is there against that.
    if headers.contains_key("x-forwarded-for") {
        return refused(StatusCode::FORBIDDEN);
    }
    let header = |name: &str| headers.get(name)?.to_str().ok();
    match method {
        Method::PUT if uri.path() == "/latest/api/token" => {
            match header(TTL).and_then(|ttl| ttl.parse().ok()) {
                Some(ttl @ 1..=LONGEST) => {
                    (StatusCode::OK, service.token(Duration::from_secs(ttl)))
                }
                _ => refused(StatusCode::BAD_REQUEST),
            }
        }
        Method::GET if !header(TOKEN).is_some_and(|token| service.knows(token)) => {
            refused(StatusCode::UNAUTHORIZED)
        }
        Method::GET => match service.look_up(uri.path()) {
            Some(text) => (StatusCode::OK, text),
            None => refused(StatusCode::NOT_FOUND),
        },
        _ => refused(StatusCode::METHOD_NOT_ALLOWED),
    }
}

impl Service {
    fn token(&self, ttl: Duration) -> String {
        let token: u128 = rand::rng().random();
        let token = format!("{token:032x}");
        let mut tokens = self.tokens.lock().expect("nobody panics with it");
        let now = Instant::now();
        tokens.retain(|_, until| *until > now);
        if tokens.len() >= MOST_TOKENS {
            tokens.clear();
        }
        tokens.insert(token.clone(), now + ttl);
        token
    }

    fn look_up(&self, path: &str) -> Option<String> {
        let facts = self.facts.lock().expect("nobody panics with it");
        look_up(&facts, path)
    }

    fn knows(&self, token: &str) -> bool {
        let tokens = self.tokens.lock().expect("nobody panics with it");
        tokens
            .get(token)
            .is_some_and(|until| *until > Instant::now())
    }
}

/// A leaf, or what a folder holds, a line each. The version is whatever is asked for.
fn look_up(facts: &Facts, path: &str) -> Option<String> {
    let (_version, rest) = path.trim_start_matches('/').split_once('/')?;
    let rest = rest.trim_end_matches('/');
    let leaves = leaves(facts);
    if let Some(text) = leaves.get(rest) {
        return Some(text.clone());
    }
    if rest == "meta-data/public-keys" && !facts.public_keys.is_empty() {
        let lines = (0..facts.public_keys.len()).map(|n| format!("{n}=key{n}"));
        return Some(lines.collect::<Vec<_>>().join("\n"));
    }
    let folder = if rest.is_empty() {
        String::new()
    } else {
        format!("{rest}/")
    };
    let below: BTreeSet<String> = leaves
        .keys()
        .filter_map(|leaf| leaf.strip_prefix(&folder))
        .map(|leaf| match leaf.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => leaf.to_owned(),
        })
        .collect();
    (!below.is_empty()).then(|| below.into_iter().collect::<Vec<_>>().join("\n"))
}

fn leaves(facts: &Facts) -> BTreeMap<String, String> {
    let address = facts.address.to_string();
    let region = facts
        .zone
        .trim_end_matches(|last: char| last.is_ascii_lowercase())
        .to_owned();
    let document = serde_json::json!({
        "instanceId": facts.instance_id,
        "privateIp": address,
        "availabilityZone": facts.zone,
        "region": region,
        "version": "2017-09-30",
    });
    let interface = format!("meta-data/network/interfaces/macs/{}", facts.mac);
    let mut leaves: BTreeMap<String, String> = [
        ("meta-data/instance-id", facts.instance_id.clone()),
        ("meta-data/local-ipv4", address.clone()),
        ("meta-data/hostname", facts.host_name.clone()),
        ("meta-data/local-hostname", facts.host_name.clone()),
        ("meta-data/mac", facts.mac.clone()),
        ("meta-data/placement/availability-zone", facts.zone.clone()),
        ("meta-data/placement/region", region),
        ("meta-data/ami-launch-index", "0".into()),
        ("meta-data/services/domain", "amazonaws.com".into()),
        ("dynamic/instance-identity/document", document.to_string()),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into();
    leaves.insert(format!("{interface}/device-number"), "0".into());
    leaves.insert(format!("{interface}/local-ipv4s"), address);
    leaves.insert(format!("{interface}/mac"), facts.mac.clone());
    for (n, key) in facts.public_keys.iter().enumerate() {
        leaves.insert(
            format!("meta-data/public-keys/{n}/openssh-key"),
            key.clone(),
        );
    }
    if let Some(user_data) = &facts.user_data {
        leaves.insert("user-data".into(), user_data.clone());
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            instance_id: "i-1".into(),
            host_name: "pg1".into(),
            address: Ipv4Addr::new(198, 18, 0, 2),
            mac: "02:64:c6:12:00:02".into(),
            zone: "us-east-1a".into(),
            public_keys: vec!["ssh-ed25519 AAAA me".into()],
            user_data: Some("#cloud-config\n{}\n".into()),
        }
    }

    #[test]
    fn the_tree_is_as_cloud_init_walks_it() {
        let at = |path: &str| look_up(&facts(), path);
        assert_eq!(at("/latest/meta-data/instance-id").unwrap(), "i-1");
        assert_eq!(
            at("/2021-03-23/meta-data/placement/region").unwrap(),
            "us-east-1"
        );
        assert_eq!(at("/latest/").unwrap(), "dynamic/\nmeta-data/\nuser-data");
        assert_eq!(at("/latest/meta-data/public-keys/").unwrap(), "0=key0");
        assert_eq!(
            at("/latest/meta-data/public-keys/0/").unwrap(),
            "openssh-key"
        );
        let root = at("/2009-04-04/meta-data/").unwrap();
        assert!(
            root.contains("placement/\n") && root.contains("instance-id\n"),
            "{root}"
        );
        assert_eq!(at("/latest/user-data").unwrap(), "#cloud-config\n{}\n");
        assert_eq!(at("/latest/meta-data/spot"), None);
        assert_eq!(at("/"), None);
    }

    #[test]
    fn a_token_is_good_for_its_time() {
        let service = Service {
            facts: Mutex::new(facts()),
            tokens: Mutex::default(),
        };
        let token = service.token(Duration::from_secs(60));
        assert!(service.knows(&token) && !service.knows("other"));
        let late = service.token(Duration::ZERO);
        assert!(!service.knows(&late));
    }
}
