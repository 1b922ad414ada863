//! Every wrong request gets a 4xx that says what to do, and changes nothing.

use serde_json::{Value, json};

use crate::world::{Answer, Deployment, TOKEN, key_pair, resource};

/// Asserts the refusal's form, and that no text of the request's secrets is in it.
pub fn refused(what: &str, answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    let error = &answer.json()["error"];
    let seen = (
        answer.status,
        error["code"].as_str(),
        error["field"].as_str(),
    );
    assert_eq!(seen, (status, Some(code), field), "{what}: {answer:?}");
    let message = error["message"].as_str().unwrap();
    assert!((10..400).contains(&message.len()), "{what}: {message}");
    assert!(
        !answer.text.contains("swordfish"),
        "{what}: {}",
        answer.text
    );
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
}

/// A good body with one field set to something else; null takes it away.
fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_refused_before_anything_else() {
    let drover = Deployment::start().await;
    let before = drover.record().await;
    for authorization in ["", "Bearer wrong", "Basic eDp5", TOKEN, "Bearer "] {
        for path in ["/v1/servers", "/v1/ring", "/v1/no-such-thing"] {
            let request = drover
                .request("POST", path)
                .header("authorization", authorization);
            let answer = drover.send(request.body("{")).await;
            refused(authorization, &answer, 401, "unauthorized", None);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    let answer = drover.send(drover.request("GET", "/v1/servers")).await;
    refused("none", &answer, 401, "unauthorized", None);
    let almost = drover.request("GET", "/v1/ring").bearer_auth(&TOKEN[1..]);
    refused(
        "almost",
        &drover.send(almost).await,
        401,
        "unauthorized",
        None,
    );
    let lower = drover
        .request("GET", "/v1/ring")
        .header("authorization", format!("bearer {TOKEN}"));
    assert_eq!(drover.send(lower).await.status, 200);
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn a_wrong_server_is_refused() {
    let drover = Deployment::start().await;
    let there = drover.server("there").await;
    let before = drover.record().await;
    let (private, public) = key_pair("ed25519", "");
    let (locked, _) = key_pair("ed25519", "swordfish");
    let rsa_pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n";
    let good = || json!({"name": "new", "address": "new.example"});
    let field = |name: &str, value: Value| with(good(), name, value);
    let cases = [
        (
            "no name",
            field("name", Value::Null),
            "missing_field",
            "name",
        ),
        (
            "long name",
            field("name", "a".repeat(10_000).into()),
            "invalid_field",
            "name",
        ),
        (
            "64 characters",
            field("name", "a".repeat(64).into()),
            "invalid_field",
            "name",
        ),
        (
            "empty name",
            field("name", "".into()),
            "invalid_field",
            "name",
        ),
        (
            "upper case",
            field("name", "New".into()),
            "invalid_field",
            "name",
        ),
        (
            "markup",
            field("name", "<b>".into()),
            "invalid_field",
            "name",
        ),
        (
            "dash at the end",
            field("name", "new-".into()),
            "invalid_field",
            "name",
        ),
        ("NUL", field("name", "n\0w".into()), "invalid_field", "name"),
        (
            "number for name",
            field("name", 5.into()),
            "invalid_field",
            "name",
        ),
        (
            "no address, but more than a creation has",
            with(field("address", Value::Null), "ssh_user", "root".into()),
            "unknown_field",
            "ssh_user",
        ),
        (
            "address with port",
            field("address", "10.0.0.1:22".into()),
            "invalid_field",
            "address",
        ),
        (
            "address with space",
            field("address", "a b".into()),
            "invalid_field",
            "address",
        ),
        (
            "an option",
            field("address", "-oProxyCommand=x".into()),
            "invalid_field",
            "address",
        ),
        (
            "no IP",
            field("address", "10.0.0.300".into()),
            "invalid_field",
            "address",
        ),
        (
            "port 0",
            field("ssh_port", 0.into()),
            "invalid_field",
            "ssh_port",
        ),
        (
            "port 65536",
            field("ssh_port", 65_536.into()),
            "invalid_field",
            "ssh_port",
        ),
        (
            "port -1",
            field("ssh_port", (-1).into()),
            "invalid_field",
            "ssh_port",
        ),
        (
            "port 1.5",
            field("ssh_port", 1.5.into()),
            "invalid_field",
            "ssh_port",
        ),
        (
            "port as text",
            field("ssh_port", "22".into()),
            "invalid_field",
            "ssh_port",
        ),
        (
            "user",
            field("ssh_user", "-x y".into()),
            "invalid_field",
            "ssh_user",
        ),
        (
            "no key",
            field("ssh_key", "swordfish".into()),
            "invalid_field",
            "ssh_key",
        ),
        (
            "a list for a key",
            field("ssh_key", json!(["swordfish"])),
            "invalid_field",
            "ssh_key",
        ),
        (
            "public for private",
            field("ssh_key", public.clone().into()),
            "invalid_field",
            "ssh_key",
        ),
        (
            "passphrase",
            field("ssh_key", locked.into()),
            "invalid_field",
            "ssh_key",
        ),
        (
            "PEM",
            field("ssh_key", rsa_pem.into()),
            "invalid_field",
            "ssh_key",
        ),
        (
            "half a key",
            field("ssh_key", private[..200].into()),
            "invalid_field",
            "ssh_key",
        ),
        (
            "no host key",
            field("host_key", "ssh-ed25519 AAAA".into()),
            "invalid_field",
            "host_key",
        ),
        (
            "private for host key",
            field("host_key", private.into()),
            "invalid_field",
            "host_key",
        ),
        (
            "known_hosts",
            field("host_key", format!("h {public}").into()),
            "invalid_field",
            "host_key",
        ),
        (
            "unknown tier",
            field("tier", "gold".into()),
            "unknown_tier",
            "tier",
        ),
        (
            "cloud",
            with(field("cloud", "gcp".into()), "instance_id", "i-1".into()),
            "invalid_field",
            "cloud",
        ),
        (
            "cloud alone",
            field("cloud", "ec2".into()),
            "missing_field",
            "instance_id",
        ),
        (
            "instance alone",
            field("instance_id", "i-1".into()),
            "missing_field",
            "cloud",
        ),
        (
            "zone",
            field("zone", "a\nb".into()),
            "invalid_field",
            "zone",
        ),
        (
            "unknown field",
            field("adress", "x".into()),
            "unknown_field",
            "adress",
        ),
    ];
    for (what, body, code, field) in cases {
        let answer = drover.post("/v1/servers", &body).await;
        refused(what, &answer, 422, code, Some(field));
        assert_eq!(drover.record().await, before, "{what}");
    }
    let answer = drover
        .post("/v1/servers", &field("name", "there".into()))
        .await;
    refused("name taken", &answer, 409, "name_taken", Some("name"));
    assert!(answer.text.contains(&there), "{}", answer.text);
    for address in ["there.example", "THERE.example."] {
        let answer = drover
            .post("/v1/servers", &field("address", address.into()))
            .await;
        refused(
            "duplicate",
            &answer,
            409,
            "already_adopted",
            Some("address"),
        );
        assert!(answer.text.contains(&there), "{}", answer.text);
    }
    let answer = drover.post("/v1/servers?wait=maybe", &good()).await;
    refused("wait", &answer, 400, "invalid_parameter", Some("wait"));
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn a_wrong_resource_is_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let there = drover.resource(&server, "app").await;
    let before = drover.record().await;
    let field = |name: &str, value: Value| with(resource(&server, "new"), name, value);
    let gone = "srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    let cases = [
        (
            "no server",
            field("server", Value::Null),
            422,
            "unknown_field",
            "database",
        ),
        (
            "malformed server",
            field("server", "srv_1".into()),
            400,
            "malformed_id",
            "server",
        ),
        (
            "unknown server",
            field("server", gone.into()),
            404,
            "not_found",
            "server",
        ),
        (
            "resource as server",
            field("server", there.clone().into()),
            422,
            "invalid_field",
            "server",
        ),
        (
            "port 0",
            field("port", 0.into()),
            422,
            "invalid_field",
            "port",
        ),
        (
            "no port",
            field("port", Value::Null),
            422,
            "missing_field",
            "port",
        ),
        (
            "port 70000",
            field("port", 70_000.into()),
            422,
            "invalid_field",
            "port",
        ),
        (
            "long name",
            field("name", "a".repeat(10_000).into()),
            422,
            "invalid_field",
            "name",
        ),
        (
            "no database",
            field("database", "".into()),
            422,
            "invalid_field",
            "database",
        ),
        (
            "NUL",
            field("database", "a\0".into()),
            422,
            "invalid_field",
            "database",
        ),
        (
            "user",
            field("user", "a\nb".into()),
            422,
            "invalid_field",
            "user",
        ),
        (
            "no password",
            field("password", Value::Null),
            422,
            "missing_field",
            "password",
        ),
        (
            "empty password",
            field("password", "".into()),
            422,
            "invalid_field",
            "password",
        ),
        (
            "object",
            field("password", json!({"is": "swordfish"})),
            422,
            "invalid_field",
            "password",
        ),
        (
            "NUL",
            field("password", "swordfish\0".into()),
            422,
            "invalid_field",
            "password",
        ),
        (
            "long",
            field("password", "swordfish".repeat(200).into()),
            422,
            "invalid_field",
            "password",
        ),
        (
            "tls",
            field("tls_mode", "maybe".into()),
            422,
            "invalid_field",
            "tls_mode",
        ),
        (
            "unused",
            field("tls_root_cert", "x".into()),
            422,
            "invalid_field",
            "tls_root_cert",
        ),
        (
            "no certificate",
            with(
                field("tls_mode", "verify-full".into()),
                "tls_root_cert",
                "x".into(),
            ),
            422,
            "invalid_field",
            "tls_root_cert",
        ),
        (
            "plan",
            field("plan", "Big Plan".into()),
            422,
            "invalid_field",
            "plan",
        ),
        (
            "tier",
            field("tier", "gold".into()),
            422,
            "unknown_tier",
            "tier",
        ),
        (
            "role",
            field("role", "swordfish".into()),
            422,
            "unknown_field",
            "role",
        ),
        (
            "name taken",
            field("name", "app".into()),
            409,
            "name_taken",
            "name",
        ),
        (
            "duplicate",
            field("database", "app".into()),
            409,
            "already_adopted",
            "database",
        ),
    ];
    for (what, body, status, code, field) in cases {
        let answer = drover.post("/v1/resources", &body).await;
        refused(what, &answer, status, code, Some(field));
        assert!(
            status != 409 || answer.text.contains(&there),
            "{what}: {}",
            answer.text
        );
        assert_eq!(drover.record().await, before, "{what}");
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let drover = Deployment::start().await;
    let before = drover.record().await;
    let deep = "[".repeat(100_000);
    let bodies = [
        "",
        "{",
        "swordfish",
        "[]",
        "null",
        "3",
        "{\"password\":\"swordfish}",
        "\u{feff}{}",
    ];
    for body in bodies.into_iter().chain([deep.as_str()]) {
        for path in ["/v1/servers", "/v1/resources", "/v1/jobs"] {
            let answer = drover.raw("POST", path, body.to_owned()).await;
            refused(path, &answer, 400, "invalid_json", None);
        }
    }
    let answer = drover
        .raw("POST", "/v1/servers", vec![b'{', b'"', 0xff, b'"'])
        .await;
    refused("not UTF-8", &answer, 400, "invalid_json", None);
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(1024 * 1024));
    for path in ["/v1/servers", "/v1/resources", "/v1/jobs"] {
        let answer = drover.raw("POST", path, large.clone()).await;
        refused(path, &answer, 413, "body_too_large", None);
    }
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn wrong_ids_and_addresses_are_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let db = drover.resource(&server, "app").await;
    let before = drover.record().await;
    let unknown = "01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    for (kind, prefix, other) in [("servers", "srv_", &db), ("resources", "db_", &server)] {
        for tail in ["", "/observations", "/transitions"] {
            for id in [
                "x",
                "srv_",
                "db_x",
                "inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB",
                unknown,
                "%00",
                "%ff",
            ] {
                let answer = drover.get(&format!("/v1/{kind}/{id}{tail}")).await;
                refused(id, &answer, 400, "malformed_id", Some("id"));
            }
            for id in [&format!("{prefix}{unknown}"), other] {
                let answer = drover.get(&format!("/v1/{kind}/{id}{tail}")).await;
                refused(id, &answer, 404, "not_found", Some("id"));
            }
        }
        let answer = drover
            .raw("DELETE", &format!("/v1/{kind}/{other}"), "")
            .await;
        refused("other kind", &answer, 404, "not_found", Some("id"));
        let answer = drover
            .raw("DELETE", &format!("/v1/{kind}/{prefix}{unknown}"), "")
            .await;
        refused("unknown", &answer, 404, "not_found", Some("id"));
    }
    let answer = drover
        .raw("DELETE", &format!("/v1/servers/{server}"), "")
        .await;
    refused("has resources", &answer, 409, "has_resources", Some("id"));
    for path in ["/v1", "/v1/", "/v1/nothing", "/nothing", "/v1/servers/"] {
        refused(path, &drover.get(path).await, 404, "not_found", None);
    }
    for (method, path) in [
        ("PUT", "/v1/servers"),
        ("POST", "/healthz"),
        ("PATCH", "/v1/ring"),
    ] {
        let answer = drover.raw(method, path, "").await;
        refused(path, &answer, 405, "method_not_allowed", None);
        assert!(answer.header("allow").contains("GET"), "{answer:?}");
    }
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn wrong_parameters_are_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let db = drover.resource(&server, "app").await;
    let cases = [
        ("/v1/servers?state=well", "invalid_parameter", "state"),
        ("/v1/servers?limit=0", "invalid_parameter", "limit"),
        ("/v1/servers?limit=501", "invalid_parameter", "limit"),
        ("/v1/servers?limit=ten", "invalid_parameter", "limit"),
        ("/v1/servers?limit=1&limit=2", "invalid_parameter", "limit"),
        ("/v1/servers?cursor=x", "invalid_cursor", "cursor"),
        (
            &format!("/v1/servers?cursor={db}"),
            "invalid_cursor",
            "cursor",
        ),
        (
            &format!("/v1/servers?server={server}"),
            "unknown_parameter",
            "server",
        ),
        ("/v1/servers?color=red", "unknown_parameter", "color"),
        ("/v1/resources?server=x", "malformed_id", "server"),
        (
            &format!("/v1/resources?server={db}"),
            "invalid_parameter",
            "server",
        ),
        (
            &format!("/v1/servers/{server}/observations?cursor=1"),
            "invalid_cursor",
            "cursor",
        ),
        (
            &format!("/v1/servers/{server}/observations?limit=-1"),
            "invalid_parameter",
            "limit",
        ),
        (
            &format!(
                "/v1/servers/{server}/observations?cursor=9000000000000000000-{}",
                &db[3..]
            ),
            "invalid_cursor",
            "cursor",
        ),
        (
            &format!("/v1/servers/{server}/transitions?cursor=1"),
            "invalid_cursor",
            "cursor",
        ),
    ];
    for (path, code, field) in cases {
        refused(path, &drover.get(path).await, 400, code, Some(field));
    }
}

#[tokio::test]
async fn wrong_jobs_and_tiers_are_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    drover.feel(&server, crate::world::well()).await;
    drover.think(&server, None, None).await;
    let before = drover.record().await;
    let unknown = "db_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    let jobs = [
        (
            json!({"job": "resolve", "subject": server}),
            422,
            "unknown_job",
            "job",
        ),
        (json!({"subject": server}), 422, "missing_field", "job"),
        (json!({"job": "feel"}), 422, "missing_field", "subject"),
        (
            json!({"job": "feel", "subject": "x"}),
            400,
            "malformed_id",
            "subject",
        ),
        (
            json!({"job": "feel", "subject": unknown}),
            404,
            "not_found",
            "subject",
        ),
        (
            json!({"job": "feel", "subject": server, "now": true}),
            422,
            "unknown_field",
            "now",
        ),
    ];
    for (body, status, code, field) in jobs {
        let answer = drover.post("/v1/jobs", &body).await;
        refused(&body.to_string(), &answer, status, code, Some(field));
    }
    let tiers = [
        ("gold", json!({}), "missing_field", "rules"),
        ("gold", json!({"rules": []}), "invalid_field", "rules"),
        (
            "gold",
            json!({"rules": {"cadence": {"available": "39s"}}}),
            "invalid_field",
            "rules",
        ),
        (
            "gold",
            json!({"rules": {"cadense": {}}}),
            "invalid_field",
            "rules",
        ),
        ("Gold", json!({"rules": {}}), "invalid_field", "name"),
        ("a.b", json!({"rules": {}}), "invalid_field", "name"),
        ("1a", json!({"rules": {}}), "invalid_field", "name"),
        (
            "gold",
            json!({"rules": {}, "extra": 1}),
            "unknown_field",
            "extra",
        ),
    ];
    for (name, body, code, field) in tiers {
        let answer = drover
            .raw("PUT", &format!("/v1/tiers/{name}"), body.to_string())
            .await;
        refused(&body.to_string(), &answer, 422, code, Some(field));
    }
    assert_eq!(drover.record().await, before);
}
