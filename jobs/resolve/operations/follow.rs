//! Whom a cluster follows: slots at a leader, and what a follower knows of it. Shared
//! by the operations that change the leader.

use drover::model::slot_of;
use drover::model::{ExposeSecret, Resource, Secret, Server, SubjectId};
use drover::store::creation;
use drover::store::subjects::{self, Known};
use postgres_protocol::password::scram_sha_256;

use super::create_follower::REPLICATION;
use super::{Context, Outcome, script};

/// A resource with its server.
pub(super) type Node = (Box<Resource>, Box<Server>);

/// A resource of the record, with its secrets.
///
/// # Errors
/// If it has left the herd, or the record cannot be read.
pub(super) async fn node(turn: &Context<'_>, id: SubjectId) -> Result<Node, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let row = subjects::load(&mut db, &[id]).await?.pop();
    let row = row.ok_or_else(|| Outcome::hopeless("one of its nodes has left the herd"))?;
    let opened = row.open(&turn.tools.secret_key);
    match opened.map_err(|e| Outcome::hopeless(format!("the record: {e:#}")))? {
        Known::Resource(resource, server) => Ok((resource, server)),
        Known::Server(_) => Err(Outcome::hopeless("a server among databases")),
    }
}

/// The followers of a resource, oldest first.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn followers(turn: &Context<'_>, leader: SubjectId) -> Result<Vec<Node>, Outcome> {
    let ids = {
        let mut db = turn.tools.pool.acquire().await?;
        creation::followers_of(&mut db, leader).await?
    };
    let mut found = Vec::new();
    for id in ids {
        found.push(node(turn, id).await?);
    }
    Ok(found)
}

/// The password that followers of this resource log in with.
///
/// # Errors
/// If it has none.
pub(super) fn replication_password(leader: &Resource) -> Result<&Secret, Outcome> {
    let password = leader.replication_password.as_ref();
    password.ok_or_else(|| Outcome::hopeless("there is no password for followers"))
}

/// A role that may stream, and read what pg_rewind compares, and do nothing else; and a
/// slot that keeps WAL for this follower: reserved at once, so that a copy can catch up
/// however long it takes, up to `$3` MiB. `$2` is the slot.
pub(crate) const SLOT: &str = r#"{ cat <&3; cat <<'SQL'
select format('create role %I login replication', :'replication') where not exists (select from pg_roles where rolname = :'replication') \gexec
alter role :"replication" with login replication nosuperuser nocreatedb nocreaterole connection limit 10 password :'verifier';
grant execute on function pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) to :"replication";
grant connect on database postgres to :"replication";
select pg_create_physical_replication_slot(:'slot', true) where not exists (select from pg_replication_slots where slot_name = :'slot');
SQL
printf "alter system set max_slot_wal_keep_size = '%sMB';\nselect pg_reload_conf();\n" "$3"
} | sql -o /dev/null || exit 1
# Who leads others does not start by itself: meanwhile another may have come to lead.
echo manual | as_root tee "${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c/start.conf" >/dev/null || exit 1
echo "slot $2 keeps WAL for it"
"#;

/// What [`SLOT`] reads.
pub(crate) fn slot_input(slot: &str, password: &Secret) -> String {
    let verifier = scram_sha_256(password.expose_secret().as_bytes());
    format!("\\set replication '{REPLICATION}'\n\\set verifier '{verifier}'\n\\set slot '{slot}'\n")
}

/// Makes the slot of a follower at a leader, and the role that it logs in as.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn make_slot(
    turn: &Context<'_>,
    (leader, server): (&Resource, &Server),
    password: &Secret,
    follower: &Resource,
    keep_mib: i32,
) -> Result<String, Outcome> {
    let slot = slot_of(follower.subject.id);
    let input = slot_input(&slot, password);
    let arguments = [slot.as_str(), &keep_mib.to_string()];
    let on = (leader, server);
    let said = script::as_superuser(turn, on, SLOT, &arguments, input.as_bytes()).await?;
    Ok(said.last_words())
}

/// Has the cluster of port `$1` follow the one at `$2` port `$3`, from slot `$4`. The
/// password file's line and the certificate that its leader is known by come as the
/// input. One that runs takes notice; one that is stopped is a standby from its start.
pub(crate) const FOLLOW: &str = r##"r=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c
put() { f=$1 m=$2; as_root tee "$f.new" >/dev/null && as_root chmod "$m" "$f.new" && as_root chown --reference="$r/postgresql.conf" "$f.new" && as_root mv "$f.new" "$f"; }
umask 077
IFS= read -r pass <&3
printf '%s\n' "$pass" | put "$r/replication.pass" 600 || exit 1
cat <&3 | put "$r/leader.crt" 644 || exit 1
how="host=$2 port=$3 user=drover_replication sslmode=verify-full sslrootcert=$r/leader.crt passfile=$r/replication.pass application_name=$4 connect_timeout=5"
printf '%s\n' "# Written by drover: whom it follows." "primary_conninfo = '$how'" "primary_slot_name = '$4'" \
  "wal_receiver_timeout = '5s'" "wal_receiver_status_interval = '1s'" "wal_retrieve_retry_interval = '1s'" |
  put "$r/conf.d/follower.conf" 600 || exit 1
if [ -z "$(alive)" ]; then
  as_root touch "$d/standby.signal" && as_root chown --reference="$d" "$d/standby.signal" || exit 1
else
  as_root pg_ctlcluster "$v" "$c" reload || exit 1
fi
# Who led before was not to start by itself; a standby may.
if as_root test -e "$d/standby.signal"; then echo auto | as_root tee "$r/start.conf" >/dev/null || exit 1; fi
echo "cluster $v/$c follows $2"
"##;

/// Has a cluster follow a leader, from the slot that it has there.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn follow(
    turn: &Context<'_>,
    (follower, server): (&Resource, &Server),
    (leader, its_server): (&Resource, &Server),
    password: &Secret,
) -> Result<String, Outcome> {
    let telling = Telling::new(follower, (leader, its_server), password);
    let telling =
        telling.ok_or_else(|| Outcome::hopeless("the leader's certificate is not known"))?;
    let (arguments, input) = (telling.arguments(), telling.input.as_bytes());
    let on = (follower, server);
    let said = script::at_cluster(turn, on, FOLLOW, &arguments, input).await?;
    Ok(said.last_words())
}

/// What [`FOLLOW`] is told.
pub(crate) struct Telling {
    host: String,
    port: String,
    slot: String,
    /// What it reads.
    pub(crate) input: String,
}

impl Telling {
    /// `None` if the leader's certificate is not known.
    pub(crate) fn new(
        follower: &Resource,
        (leader, its_server): (&Resource, &Server),
        password: &Secret,
    ) -> Option<Self> {
        let certificate = leader.tls_root_cert.as_deref()?;
        Some(Self {
            host: its_server.address.clone(),
            port: leader.port.to_string(),
            slot: slot_of(follower.subject.id),
            input: format!("{}{certificate}", pass_line(leader, its_server, password)),
        })
    }

    /// Behind the port.
    pub(crate) fn arguments(&self) -> [&str; 3] {
        [&self.host, &self.port, &self.slot]
    }
}

/// A line of libpq's password file: `host:port:database:user:password`.
pub(super) fn pass_line(leader: &Resource, server: &Server, password: &Secret) -> String {
    let host = server.address.replace('\\', "\\\\").replace(':', "\\:");
    let password = password.expose_secret();
    format!("{host}:{}:*:{REPLICATION}:{password}\n", leader.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::operations::create_follower::BACKUP;

    /// A follower that is made and one that is told anew go by the same settings.
    #[test]
    fn a_follower_notices_soon_that_its_leader_is_gone() {
        for setting in [
            "wal_receiver_timeout = ",
            "wal_receiver_status_interval = ",
            "wal_retrieve_retry_interval = ",
        ] {
            let of = |script: &str| {
                let (_, rest) = script.split_once(setting)?;
                let value = rest.split(['"', '\n']).next()?;
                Some(value.replace(['\'', '\\'], ""))
            };
            let told = of(FOLLOW);
            assert!(told.is_some(), "{setting}");
            assert_eq!(told, of(BACKUP), "{setting}");
        }
    }
}
