//! `create_follower`: a base backup of the leader on a server of its own, that
//! streams from a slot of its own.

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Resource, Server, State};

use super::create_resource::{await_server, certificate, customer, plan, start};
use super::create_server::{enter, first_look};
use super::follow::{make_slot, node, pass_line, replication_password};
use super::{Book, Context, Outcome, Step, Work, script, sync, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("await_server", "wait for its server"),
        Step::new("await_leader", "wait for its leader"),
        Step::new("slot", "keep WAL for it at its leader"),
        Step::new("backup", "copy its leader"),
        Step::new("certificate", "pin its certificate"),
        Step::new("start", "start it"),
        Step::new("enter", "let it enter the ring"),
        Step::new("first_look", "wait until it is felt to be in service"),
        // Not before: until then, commits wait for the others, or for this one to come.
        Step::new(
            "names",
            "have its leader's commits wait for it, if they do for any",
        ),
    ],
    creates: true,
};

/// What followers log in as.
pub(super) const REPLICATION: &str = "drover_replication";

const SOON: Duration = Duration::from_millis(500);

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    match turn.step {
        "await_server" => await_server(server),
        "await_leader" => await_leader(turn, resource).await,
        "slot" => slot(turn, resource).await,
        "backup" => backup(turn, resource, server).await,
        "certificate" => certificate(turn, resource, server).await,
        "start" => start(turn, resource, server).await,
        "enter" => enter(),
        "first_look" => first_look(resource.subject.state),
        "names" => names(turn, resource).await,
        step => unknown(step),
    }
}

/// The resource that this one follows, and its server.
pub(super) async fn leader_of(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<(Box<Resource>, Box<Server>), Outcome> {
    let id = resource.leader;
    let id = id.ok_or_else(|| Outcome::hopeless("it follows nobody"))?;
    node(turn, id).await
}

async fn await_leader(turn: &Context<'_>, resource: &Resource) -> Work {
    let (leader, _) = leader_of(turn, resource).await?;
    let name = &leader.subject.name;
    match leader.subject.state {
        State::Available => Ok(Outcome::done(format!("its leader {name} is in service"))),
        State::Creating | State::Uncertain | State::Unavailable => Err(Outcome::again(
            SOON,
            format!("its leader {name} is {}", leader.subject.state),
        )),
        State::Destroying | State::Destroyed => {
            Err(Outcome::hopeless(format!("its leader {name} is gone")))
        }
    }
}

async fn names(turn: &Context<'_>, resource: &Resource) -> Work {
    match resource.leader {
        Some(leader) => Ok(Outcome::done(sync::if_sync(turn, leader).await?)),
        None => Ok(Outcome::done("it leads by now")),
    }
}

async fn slot(turn: &Context<'_>, resource: &Resource) -> Work {
    let (leader, server) = leader_of(turn, resource).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let said = make_slot(turn, (&leader, &server), password, resource, keep).await?;
    Ok(Outcome::done(said))
}

/// Makes cluster `$2` of the leader's major version `$1` for port `$3` at the address
/// `$4`, as a copy of the one at `$5` port `$6`, streaming from slot `$7`, at most `$8`
/// MiB a second. What was left half made is made anew: the file that is written last
/// tells. The certificate that the leader is known by and the password file come as
/// the input.
pub(super) const BACKUP: &str = r##"v=$1 n=$2
local=${DROVER_CREATECLUSTER:+yes}
[ -x "/usr/lib/postgresql/$v/bin/pg_basebackup" ] || { echo "PostgreSQL $v is not installed"; exit 78; }
conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$n
t=$HOME/.drover-jobs; [ -z "$local" ] || t=${DROVER_CREATECLUSTER%/*}/jobs
as_root test -e "$conf/conf.d/drover.conf" && { rm -f -- "$t/$n.crt" "$t/$n.pass"; echo "cluster $v/$n is made"; exit 0; }
mkdir -p -m 700 -- "$t" || exit 1
umask 077
IFS= read -r pass <&3; cat <&3 >"$t/$n.crt.new"; printf '%s\n' "$pass" >"$t/$n.pass.new"
mv "$t/$n.crt.new" "$t/$n.crt"; mv "$t/$n.pass.new" "$t/$n.pass"
background "cluster-$n" '
  set -e
  v=$1 n=$2 port=$3 address=$4 host=$5 from=$6 slot=$7 rate=$8 conf=$9 local=${10} t=${11}
  r() { if [ "$(id -u)" = 0 ] || [ -n "$local" ]; then "$@"; else sudo -n -- "$@"; fi; }
  o() { if [ -n "$local" ]; then "$@"; else sudo -n -u postgres -- "$@"; fi; }
  put() { f=$1 m=$2; r tee "$f.new" >/dev/null; r chmod "$m" "$f.new"; r chown --reference="$conf/postgresql.conf" "$f.new"; r mv "$f.new" "$f"; }
  if [ -n "$local" ]; then
    data=$(sed -n "s/^data_directory = .\(.*\).\$/\1/p" "$DROVER_CREATECLUSTER" | sed "s/%c/$n/;s/%v/$v/")
    listen=$address method=trust who=all
  else
    data=/var/lib/postgresql/$v/$n listen=* method=peer who=postgres
  fi
  if r test -e "$conf"; then r pg_dropcluster --stop "$v" "$n"; fi
  [ -z "$data" ] || r rm -rf -- "$data"
  # The configuration is Debian'\''s own; the data are the leader'\''s.
  r pg_createcluster ${local:+--createclusterconf="$DROVER_CREATECLUSTER" -s "$DROVER_SOCKETS" -l "$DROVER_LOGS/$n.log"} \
    -p "$port" "$v" "$n" -- --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --data-checksums --auth-local=$method --auth-host=scram-sha-256
  printf "# Written by drover.\nlocal all %s %s\nhostssl all all all scram-sha-256\nhostssl replication drover_replication all scram-sha-256\nhostnossl all all all reject\n" \
    "$who" "$method" | put "$conf/pg_hba.conf" 640
  put "$conf/leader.crt" 644 <"$t/$n.crt"
  put "$conf/replication.pass" 600 <"$t/$n.pass"
  rm -f -- "$t/$n.crt" "$t/$n.pass"
  case $address in
    *[!0-9.]*) case $address in *:*) san=IP:$address;; *) san=DNS:$address;; esac;;
    *) san=IP:$address;;
  esac
  umask 077
  k=$(mktemp -d); trap "rm -rf $k" EXIT
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
    -subj "/CN=$n" -addext "subjectAltName=$san" -addext "basicConstraints=critical,CA:FALSE" \
    -keyout "$k/key" -out "$k/crt" 2>/dev/null
  put "$conf/server.crt" 644 <"$k/crt"
  put "$conf/server.key" 600 <"$k/key"
  r find "$data" -mindepth 1 -delete
  how="host=$host port=$from user=drover_replication sslmode=verify-full sslrootcert=$conf/leader.crt passfile=$conf/replication.pass application_name=$slot connect_timeout=5"
  # Not under its own name: what a copy confirms is no copy of a commit yet.
  o "/usr/lib/postgresql/$v/bin/pg_basebackup" -d "$how application_name=drover_copy" -D "$data" -X stream -S "$slot" -c fast \
    -r "${rate}M" ${local:+--no-sync}
  o touch "$data/standby.signal"
  r mkdir -p "$conf/conf.d"
  printf "%s\n" "# Written by drover: whom it follows." \
    "primary_conninfo = '\''$how'\''" "primary_slot_name = '\''$slot'\''" \
    "wal_receiver_timeout = '\''5s'\''" "wal_receiver_status_interval = '\''1s'\''" \
    "wal_retrieve_retry_interval = '\''1s'\''" | put "$conf/conf.d/follower.conf" 600
  printf "%s\n" "# Written by drover, last of all: what it made is whole." \
    "listen_addresses = '\''$listen'\''" "max_connections = ${12}" \
    "password_encryption = '\''scram-sha-256'\''" "ssl = on" "hot_standby = on" \
    "ssl_cert_file = '\''$conf/server.crt'\''" "ssl_key_file = '\''$conf/server.key'\''" \
    "shared_preload_libraries = '\''${13}'\''" | put "$conf/conf.d/drover.conf" 644
' "$v" "$n" "$3" "$4" "$5" "$6" "$7" "$8" "$conf" "$local" "$t" "$9" "${10}"
# A turn that came while the copy was made has put them there once more.
rm -f -- "$t/$n.crt" "$t/$n.pass"
echo "made cluster $v/$n, a copy of its leader"
"##;

/// The leader's major version.
const VERSION: &str = r#"echo "$v""#;

async fn backup(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let (leader, its_server) = leader_of(turn, resource).await?;
    let on = (&*leader, &*its_server);
    let version = script::at_cluster(turn, on, VERSION, &[], b"").await?;
    let version = version.out.trim().to_owned();
    let plan = plan(turn, resource).await?;
    let certificate = leader.tls_root_cert.as_deref();
    let certificate =
        certificate.ok_or_else(|| Outcome::hopeless("the leader's certificate is not known"))?;
    let password = replication_password(&leader)?;
    let pass = pass_line(&leader, &its_server, password);
    let input = format!("{pass}{certificate}");
    let most = super::create_resource::most_connections(&plan).to_string();
    let arguments = [
        version.as_str(),
        &customer(resource)?.database,
        &resource.port.to_string(),
        &server.address,
        &its_server.address,
        &leader.port.to_string(),
        &slot_of(resource.subject.id),
        &plan.backup_rate_mib.to_string(),
        &most,
        super::create_resource::libraries(&plan),
    ];
    let script = format!("{}{BACKUP}", script::BACKGROUND);
    let said = script::run(turn, server, &script, &arguments, input.as_bytes()).await?;
    Ok(Outcome::done(said.last_words()))
}
