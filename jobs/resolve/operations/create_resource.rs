//! `create_resource`: a cluster on a server that is there or on its way, with a
//! certificate, drover's own role and database, and the customer's.

use std::time::Duration;

use drover::model::{Customer, ExposeSecret, Resource, Secret, Server, State};
use drover::store::operations::Fact;
use drover::store::plans::{self, Plan};
use postgres_protocol::password::scram_sha_256;

use super::create_server::{enter, first_look};
use super::{Book, Context, Outcome, Step, Work, script, sync, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("await_server", "wait for its server"),
        Step::new("cluster", "make its cluster"),
        Step::new("certificate", "pin its certificate"),
        Step::new("start", "start its cluster"),
        Step::new("roles", "make its roles and its database"),
        Step::new(
            "names",
            "have its commits wait for a follower, if they are to",
        ),
        Step::new("enter", "let it enter the ring"),
        Step::new("first_look", "wait until it is felt to be in service"),
    ],
    creates: true,
};

const SOON: Duration = Duration::from_millis(500);
/// Connections beside the customer's: drover's own, and what mends by hand.
const OURS: i32 = 10;

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    match turn.step {
        "await_server" => await_server(server),
        "cluster" => cluster(turn, resource, server).await,
        "certificate" => certificate(turn, resource, server).await,
        "start" => start(turn, resource, server).await,
        "roles" => roles(turn, resource, server).await,
        // From its first commit on: until a follower streams, none is acknowledged.
        "names" => Ok(Outcome::done(
            sync::if_sync(turn, resource.subject.id).await?,
        )),
        "enter" => enter(),
        "first_look" => first_look(resource.subject.state),
        step => unknown(step),
    }
}

pub(super) fn await_server(server: &Server) -> Work {
    let name = &server.subject.name;
    match server.subject.state {
        State::Available => Ok(Outcome::done(format!("server {name} is in service"))),
        State::Creating | State::Uncertain | State::Unavailable => Err(Outcome::again(
            SOON,
            format!("server {name} is {}", server.subject.state),
        )),
        State::Destroying | State::Destroyed => {
            Err(Outcome::hopeless(format!("server {name} is gone")))
        }
    }
}

/// Makes cluster `$2` for port `$3`, of the major version `$1` or the newest there is.
/// `$4` is the server's address, `$5` how many connections there may be, `$6` what is
/// loaded at its start. What was left half made is made anew: the file that is
/// written last tells.
const CLUSTER: &str = r##"v=$1 n=$2 port=$3 address=$4 most=$5 libraries=$6
local=${DROVER_CREATECLUSTER:+yes}
[ -n "$v" ] || v=$(ls /usr/lib/postgresql 2>/dev/null | grep -E '^[0-9]+$' | sort -n | tail -n 1)
[ -x "/usr/lib/postgresql/$v/bin/initdb" ] || { echo "PostgreSQL ${v:-} is not installed"; exit 78; }
conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$n
as_root test -e "$conf/conf.d/drover.conf" && { echo "cluster $v/$n is made"; exit 0; }
background "cluster-$n" '
  set -e
  v=$1 n=$2 port=$3 address=$4 most=$5 libraries=$6 conf=$7 local=$8
  r() { if [ "$(id -u)" = 0 ] || [ -n "$local" ]; then "$@"; else sudo -n -- "$@"; fi; }
  put() { f=$1 m=$2; r tee "$f.new" >/dev/null; r chmod "$m" "$f.new"; r chown --reference="$conf/postgresql.conf" "$f.new"; r mv "$f.new" "$f"; }
  if [ -n "$local" ]; then
    data=$(sed -n "s/^data_directory = .\(.*\).\$/\1/p" "$DROVER_CREATECLUSTER" | sed "s/%c/$n/;s/%v/$v/")
    listen=$address method=trust who=all
  else
    data=/var/lib/postgresql/$v/$n listen=* method=peer who=postgres
  fi
  if r test -e "$conf"; then r pg_dropcluster --stop "$v" "$n"; fi
  [ -z "$data" ] || r rm -rf -- "$data"
  r pg_createcluster ${local:+--createclusterconf="$DROVER_CREATECLUSTER" -s "$DROVER_SOCKETS" -l "$DROVER_LOGS/$n.log"} \
    -p "$port" "$v" "$n" -- --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --data-checksums --auth-local=$method --auth-host=scram-sha-256
  printf "# Written by drover.\nlocal all %s %s\nhostssl all all all scram-sha-256\nhostssl replication drover_replication all scram-sha-256\nhostnossl all all all reject\n" \
    "$who" "$method" | put "$conf/pg_hba.conf" 640
  case $address in
    *[!0-9.]*) case $address in *:*) san=IP:$address;; *) san=DNS:$address;; esac;;
    *) san=IP:$address;;
  esac
  umask 077
  t=$(mktemp -d); trap "rm -rf $t" EXIT
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
    -subj "/CN=$n" -addext "subjectAltName=$san" -addext "basicConstraints=critical,CA:FALSE" \
    -keyout "$t/key" -out "$t/crt" 2>/dev/null
  put "$conf/server.crt" 644 <"$t/crt"
  put "$conf/server.key" 600 <"$t/key"
  if [ -n "$local" ]; then
    # pg_ctlcluster looks whether a start has come about by logging in as whoever
    # calls it, and takes 5 s to believe that it cannot.
    echo "create role \"$(id -un)\" login" | "/usr/lib/postgresql/$v/bin/postgres" --single -D "$data" \
      -c config_file="$conf/postgresql.conf" -c exit_on_error=on postgres >/dev/null
  fi
  r mkdir -p "$conf/conf.d"
  printf "%s\n" "# Written by drover, last of all: what it made is whole." \
    "listen_addresses = '\''$listen'\''" "max_connections = $most" \
    "password_encryption = '\''scram-sha-256'\''" "ssl = on" \
    "ssl_cert_file = '\''$conf/server.crt'\''" "ssl_key_file = '\''$conf/server.key'\''" \
    "shared_preload_libraries = '\''$libraries'\''" | put "$conf/conf.d/drover.conf" 644
' "$v" "$n" "$port" "$address" "$most" "$libraries" "$conf" "$local"
echo "made cluster $v/$n"
"##;

async fn cluster(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let plan = plan(turn, resource).await?;
    let version = plan.postgres.map_or(String::new(), |v| v.to_string());
    let arguments = [
        version.as_str(),
        &customer(resource)?.database,
        &resource.port.to_string(),
        &server.address,
        &most_connections(&plan).to_string(),
        libraries(&plan),
    ];
    let script = format!("{}{CLUSTER}", script::BACKGROUND);
    let said = script::run(turn, server, &script, &arguments, b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// Connections that a cluster of this plan takes.
pub(super) fn most_connections(plan: &Plan) -> i32 {
    plan.connections.saturating_add(OURS)
}

/// What a cluster of this plan loads at its start.
pub(super) fn libraries(plan: &Plan) -> &'static str {
    match plan.extensions.iter().any(|e| e == "pg_stat_statements") {
        true => "pg_stat_statements",
        false => "",
    }
}

/// Its private half never leaves the server.
const CERTIFICATE: &str = r#"r=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}
as_root cat "$r/$v/$c/server.crt"
"#;

pub(super) async fn certificate(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let said = script::at_cluster(turn, (resource, server), CERTIFICATE, &[], b"").await?;
    if !said.out.contains("BEGIN CERTIFICATE") {
        return Err(Outcome::failed("its certificate cannot be read"));
    }
    let pem = format!("{}\n", said.out.trim());
    Ok(Outcome::done("its certificate is pinned").with(Fact::Certificate(pem)))
}

/// 2 is pg_ctlcluster's word for one that runs already.
const START: &str = r#"as_root pg_ctlcluster "$v" "$c" start; s=$?
[ $s = 0 ] || [ $s = 2 ] || { tail -n 1 -- "$l" 2>/dev/null; exit 1; }
echo "cluster $v/$c runs"
"#;

pub(super) async fn start(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let said = script::at_cluster(turn, (resource, server), START, &[], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// drover's own role may look at all of the cluster and is in no database of the
/// customer's; nothing that the customer may grant or revoke reaches it: its database
/// is not theirs, and their role makes no roles. Passwords come as verifiers, so that
/// no log can hold one.
const ROLES: &str = r#"{ cat <&3; cat <<'SQL'
select format('create role %I login', :'own') where not exists (select from pg_roles where rolname = :'own') \gexec
alter role :"own" with login nosuperuser nocreatedb nocreaterole noreplication connection limit 5 password :'own_verifier';
grant pg_monitor to :"own";
select format('create database %I', :'own') where not exists (select from pg_database where datname = :'own') \gexec
revoke all on database :"own" from public;
grant connect on database :"own" to :"own";
select format('create role %I login', :'role') where not exists (select from pg_roles where rolname = :'role') \gexec
alter role :"role" with login nosuperuser nocreatedb nocreaterole noreplication connection limit :most password :'role_verifier';
select format('create database %I owner %I', :'database', :'role') where not exists (select from pg_database where datname = :'database') \gexec
revoke all on database :"database" from public;
revoke connect on database postgres from public;
SQL
} | sql -o /dev/null || exit 1
b=$2; shift 2
for e in "$@"; do
  printf 'create extension if not exists "%s" schema public;\n' "$e" | sql -d "$b" -o /dev/null || exit 1
done
echo "the customer's role and database $b are there"
"#;

/// Extensions that only a superuser may create; the others the customer creates.
const SUPERUSERS: [&str; 1] = ["pg_stat_statements"];

async fn roles(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let plan = plan(turn, resource).await?;
    let customer = customer(resource)?;
    let set = |name: &str, value: &str| format!("\\set {name} '{value}'\n");
    let verifier = |password: &Secret| scram_sha_256(password.expose_secret().as_bytes());
    let input = [
        set("own", &resource.role),
        set("own_verifier", &verifier(&resource.password)),
        set("role", &customer.role),
        set("role_verifier", &verifier(&customer.password)),
        set("database", &customer.database),
        set("most", &plan.connections.to_string()),
    ]
    .concat();
    let mut arguments = vec![customer.database.as_str()];
    arguments.extend(
        SUPERUSERS
            .iter()
            .filter(|e| plan.extensions.iter().any(|x| x == *e)),
    );
    let input = input.as_bytes();
    let said = script::as_superuser(turn, (resource, server), ROLES, &arguments, input).await?;
    Ok(Outcome::done(said.last_words()))
}

pub(super) async fn plan(turn: &Context<'_>, resource: &Resource) -> Result<Plan, Outcome> {
    let failed = |e: sqlx::Error| Outcome::failed(format!("the record cannot be read: {e}"));
    let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
    let plan = plans::find(&mut db, &resource.plan).await.map_err(failed)?;
    plan.ok_or_else(|| Outcome::hopeless(format!("there is no plan {} any more", resource.plan)))
}

pub(super) fn customer(resource: &Resource) -> Result<&Customer, Outcome> {
    let customer = resource.customer.as_ref();
    customer.ok_or_else(|| Outcome::hopeless("nothing of it is a customer's"))
}
