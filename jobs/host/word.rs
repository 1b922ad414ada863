//! On whose word a script changes something.

use std::time::Instant;

use drover::store::words::Standing;

/// What the record knows, and until when it may be acted upon. A server obeys only the
/// newest, and keeps it; see `drover-root`.
#[derive(Clone, Debug)]
pub struct Word {
    /// How the record stands.
    pub standing: Standing,
    /// When the lease ends, counted from before it was asked for.
    pub until: Instant,
}

impl Word {
    /// As `prelude/word.sh` takes it.
    pub(super) fn arguments(&self) -> [String; 5] {
        let Standing {
            deployment,
            epoch,
            raised_by,
            fences,
            known,
        } = &self.standing;
        let fences: Vec<String> = fences
            .iter()
            .map(|lease| match lease {
                Some(lease) => format!("{}:{}", lease.fence.0, lease.nonce),
                None => "-".to_owned(),
            })
            .collect();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            or_none(known.clone()),
            deployment.to_string(),
            epoch.to_string(),
            or_none(raised_by.map(|by| by.to_string())),
            fences.join(","),
        ]
    }

    /// The answer to a script that asks, by its server's boot and uptime (hundredths of a
    /// second), until when it may go on: the same boot, and the latest uptime. `None`: it has
    /// not asked yet.
    pub(super) fn until(&self, mark: &str, said: &[u8]) -> Option<Vec<u8>> {
        let said = String::from_utf8_lossy(said);
        let (_, asked) = said.split_once(&format!("{mark} asks "))?;
        let (asked, _) = asked.split_once('\n')?;
        let (boot, uptime) = asked.split_once(' ')?;
        let left = self.until.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis() / 10).unwrap_or_default();
        let latest = uptime
            .parse::<u64>()
            .unwrap_or_default()
            .saturating_add(left);
        Some(format!("{boot} {latest}\n").into_bytes())
    }
}
