//! Every wrong request gets a 4xx that says what to do, and changes nothing.

use drover::config::GamedayMark;
use serde_json::{Value, json};

use crate::world::{Answer, Deployment, TOKEN, key_pair, resource};

/// Asserts the refusal's form, and that no text of the request's secrets is in it.
pub fn refused(what: &str, answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    let error = &answer.json()["error"];
    let (seen, at) = (error["code"].as_str(), error["field"].as_str());
    let seen = (answer.status, seen, at);
    assert_eq!(seen, (status, Some(code), field), "{what}: {answer:?}");
    let message = error["message"].as_str().unwrap();
    assert!((10..500).contains(&message.len()), "{what}: {message}");
    assert!(
        !answer.text.contains("swordfish"),
        "{what}: {}",
        answer.text
    );
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
}

/// Asks what each line of a table says, and has it refused:
///
/// ```text
/// WHO {JSON} STATUS CODE FIELD | what the message says
/// ```
///
/// `WHO` and what is said may be missing, and a field be `-`. None may change the record.
pub async fn all_refused(
    drover: &Deployment,
    table: &str,
    ask: impl AsyncFn(&str, Value) -> Answer,
) -> Vec<Answer> {
    let before = drover.record().await;
    let mut answers = vec![];
    for line in table.trim().lines() {
        let (asked, expected) = line.rsplit_once('}').unwrap();
        let (who, body) = asked.split_once('{').unwrap();
        let body = serde_json::from_str(&format!("{{{body}}}")).unwrap();
        let (expected, says) = expected.split_once(" | ").unwrap_or((expected, ""));
        let [status, code, field] = expected.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not three words: {line}");
        };
        let answer = ask(who.trim(), body).await;
        let field = (field != "-").then_some(field);
        refused(line, &answer, status.parse().unwrap(), code, field);
        assert!(answer.text.contains(says), "{line}: {answer:?}");
        assert_eq!(drover.record().await, before, "{line}");
        answers.push(answer);
    }
    answers
}

/// The same of a good body with what each line changes in it (null is no field at all; a
/// text in `values` stands for another).
pub async fn refuse_all(
    drover: &Deployment,
    path: &str,
    good: &Value,
    values: &[(&str, &str)],
    table: &str,
) -> Vec<Answer> {
    all_refused(drover, table, async |_, changes| {
        let mut body = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            let named = values.iter().find(|(name, _)| value == name);
            body[name] = named.map_or(value.clone(), |(_, value)| (*value).into());
        }
        drover.post(path, &body).await
    })
    .await
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
    let answer = drover.send(almost).await;
    refused("almost", &answer, 401, "unauthorized", None);
    let lower = drover
        .request("GET", "/v1/ring")
        .header("authorization", format!("bearer {TOKEN}"));
    drover.send(lower).await.is(200);
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn a_wrong_server_is_refused() {
    let drover = Deployment::start().await;
    let there = drover.server("there").await;
    let (private, public) = key_pair("ed25519", "");
    let (locked, _) = key_pair("ed25519", "swordfish");
    let values = [
        ("@long", &*"a".repeat(10_000)),
        ("@64", &"a".repeat(64)),
        ("@public", &public),
        ("@private", &private),
        ("@half a key", &private[..200]),
        ("@locked", &locked),
        ("@known_hosts", &format!("h {public}")),
    ];
    let good = json!({"name": "new", "address": "new.example"});
    let table = r#"
{"name": null}                                  422 missing_field name
{"name": "@long"}                               422 invalid_field name
{"name": "@64"}                                 422 invalid_field name
{"name": ""}                                    422 invalid_field name
{"name": "New"}                                 422 invalid_field name
{"name": "<b>"}                                 422 invalid_field name
{"name": "new-"}                                422 invalid_field name
{"name": "n\u0000w"}                            422 invalid_field name
{"name": 5}                                     422 invalid_field name
{"address": null, "ssh_user": "root"}           422 unknown_field ssh_user
{"address": "10.0.0.1:22"}                      422 invalid_field address
{"address": "a b"}                              422 invalid_field address
{"address": "-oProxyCommand=x"}                 422 invalid_field address
{"address": "10.0.0.300"}                       422 invalid_field address
{"address": "169.254.169.254"}                  422 invalid_field address | must be a server's
{"address": "::ffff:169.254.169.254"}           422 invalid_field address | must be a server's
{"address": "fd00:ec2::254"}                    422 invalid_field address | must be a server's
{"address": "0.0.0.0"}                          422 invalid_field address | must be a server's
{"ssh_port": 0}                                 422 invalid_field ssh_port
{"ssh_port": 65536}                             422 invalid_field ssh_port
{"ssh_port": -1}                                422 invalid_field ssh_port
{"ssh_port": 1.5}                               422 invalid_field ssh_port
{"ssh_port": "22"}                              422 invalid_field ssh_port
{"ssh_user": "-x y"}                            422 invalid_field ssh_user
{"ssh_key": "swordfish"}                        422 invalid_field ssh_key
{"ssh_key": ["swordfish"]}                      422 invalid_field ssh_key
{"ssh_key": "@public"}                          422 invalid_field ssh_key
{"ssh_key": "@locked"}                          422 invalid_field ssh_key
{"ssh_key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"} 422 invalid_field ssh_key
{"ssh_key": "@half a key"}                      422 invalid_field ssh_key
{"host_key": "ssh-ed25519 AAAA"}                422 invalid_field host_key
{"host_key": "@private"}                        422 invalid_field host_key
{"host_key": "@known_hosts"}                    422 invalid_field host_key
{"tier": "gold"}                                422 unknown_tier tier
{"cloud": "gcp", "instance_id": "i-1"}          422 invalid_field cloud
{"cloud": "ec2"}                                422 missing_field instance_id
{"instance_id": "i-1"}                          422 missing_field cloud
{"zone": "a\nb"}                                422 invalid_field zone
{"adress": "x"}                                 422 unknown_field adress
"#;
    refuse_all(&drover, "/v1/servers", &good, &values, table).await;
    let taken = r#"
{"name": "there"}                               409 name_taken name
{"address": "there.example"}                    409 already_adopted address
{"address": "THERE.example."}                   409 already_adopted address
"#;
    for answer in refuse_all(&drover, "/v1/servers", &good, &[], taken).await {
        assert!(answer.text.contains(&there), "{}", answer.text);
    }
    let before = drover.record().await;
    let answer = drover.post("/v1/servers?wait=maybe", &good).await;
    refused("wait", &answer, 400, "invalid_parameter", Some("wait"));
    assert_eq!(drover.record().await, before);
}

#[tokio::test]
async fn a_wrong_resource_is_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let there = drover.resource(&server, "app").await;
    let values = [
        ("@there", &*there),
        ("@long", &"a".repeat(10_000)),
        ("@long password", &"swordfish".repeat(200)),
    ];
    let good = resource(&server, "new");
    let table = r#"
{"server": null}                                422 unknown_field database
{"server": "srv_1"}                             400 malformed_id server
{"server": "srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB"}    404 not_found server
{"server": "@there"}                            422 invalid_field server
{"port": 0}                                     422 invalid_field port
{"port": null}                                  422 missing_field port
{"port": 70000}                                 422 invalid_field port
{"name": "@long"}                               422 invalid_field name
{"database": ""}                                422 invalid_field database
{"database": "a\u0000"}                         422 invalid_field database
{"user": "a\nb"}                                422 invalid_field user
{"password": null}                              422 missing_field password
{"password": ""}                                422 invalid_field password
{"password": {"is": "swordfish"}}               422 invalid_field password
{"password": "swordfish\u0000"}                 422 invalid_field password
{"password": "@long password"}                  422 invalid_field password
{"tls_mode": "maybe"}                           422 invalid_field tls_mode
{"tls_root_cert": "x"}                          422 invalid_field tls_root_cert
{"tls_mode": "verify-full", "tls_root_cert": "x"} 422 invalid_field tls_root_cert
{"plan": "Big Plan"}                            422 invalid_field plan
{"tier": "gold"}                                422 unknown_tier tier
{"role": "swordfish"}                           422 unknown_field role
{"database": "a\u202eb"}                         422 invalid_field database
{"user": "a\u2066b"}                             422 invalid_field user
{"tls_mode": "verify-full", "tls_root_cert": "\u202d"} 422 invalid_field tls_root_cert
{"leaders": ["a\u2069"]}                         422 invalid_field leaders
{"more": {"a\u202c": 1}}                         422 invalid_field more
"#;
    refuse_all(&drover, "/v1/resources", &good, &values, table).await;
    let taken = r#"
{"name": "app"}                                 409 name_taken name
{"database": "app"}                             409 already_adopted database
"#;
    for answer in refuse_all(&drover, "/v1/resources", &good, &[], taken).await {
        assert!(answer.text.contains(&there), "{}", answer.text);
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
    let odd = vec![b'{', b'"', 0xff, b'"'];
    let answer = drover.raw("POST", "/v1/servers", odd).await;
    refused("not UTF-8", &answer, 400, "invalid_json", None);
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(1024 * 1024));
    for path in ["/v1/servers", "/v1/resources", "/v1/jobs"] {
        let answer = drover.raw("POST", path, large.clone()).await;
        refused(path, &answer, 413, "body_too_large", None);
    }
    assert_eq!(drover.record().await, before);
}

/// Whoever checks a request may read the first, and whoever does it the last.
#[tokio::test]
async fn a_body_that_says_something_twice_is_refused_everywhere() {
    let drover = Deployment::with(|config| config.gameday = GamedayMark::Allowed).await;
    let server = drover.server("there").await;
    let before = drover.record().await;
    let paths = [
        "POST /v1/servers",
        "POST /v1/resources",
        "POST /v1/resources/ID/followers",
        "POST /v1/servers/SERVER/actions",
        "POST /v1/resources/ID/actions",
        "POST /v1/incidents/inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB/actions",
        "POST /v1/operations/op_01J8ZC0T3YQ5V7N2M4K6H9D1XB/actions",
        "POST /v1/messages/msg_01J8ZC0T3YQ5V7N2M4K6H9D1XB/actions",
        "POST /v1/jobs",
        "POST /v1/record/adopt",
        "POST /v1/gameday",
        "PUT /v1/tiers/gold",
        "PUT /v1/modes/herd",
        "PUT /v1/modes/tiers/standard",
        "PUT /v1/modes/subjects/SERVER",
    ];
    let bodies = [
        (
            r#"{"name": "a", "password": "swordfish", "name": "a"}"#,
            "name",
        ),
        (r#"{"reason": null, "re\u0061son": "swordfish"}"#, "reason"),
        (
            r#"{"rules": {"cadence": {"creating": "1s", "creating": "2s"}}}"#,
            "creating",
        ),
        ("{\"a\u{202e}\": 1, \"a\u{202e}\": 2}", "a\u{fffd}"),
    ];
    for line in paths {
        let (method, path) = line.split_once(' ').unwrap();
        let path = path.replace("SERVER", &server);
        let path = path.replace("ID", "db_01J8ZC0T3YQ5V7N2M4K6H9D1XB");
        for (body, key) in bodies {
            let answer = drover.raw(method, &path, body).await;
            refused(line, &answer, 400, "duplicate_key", Some(key));
        }
    }
    assert_eq!(drover.record().await, before);
    // The same key in two places is said once in each.
    let rules = r#"{"rules": {"cadence": {"creating": "1s"}, "patience": {"creation": "1s"}}}"#;
    drover.raw("PUT", "/v1/tiers/gold", rules).await.is(200);
}

#[tokio::test]
async fn a_reason_reads_as_it_is_and_a_password_may_be_anything() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    let before = drover.record().await;
    let table = r#"
{"mode": "hold", "reason": "it \u2067is\u2069 down"} 422 invalid_field reason
{"mode": "hold", "reason": "a\u0007"}            422 invalid_field reason
{"mode": "hold", "reason": "a\nb"}               422 invalid_field reason
"#;
    for line in table.trim().lines() {
        let (body, _) = line.split_once(" 422").unwrap();
        let answer = drover.raw("PUT", "/v1/modes/herd", body.to_owned()).await;
        refused(line, &answer, 422, "invalid_field", Some("reason"));
    }
    let mode = r#"{"mode": "act"}"#;
    let answer = drover.raw("PUT", "/v1/modes/tiers/a%E2%80%AEb", mode).await;
    refused("path", &answer, 400, "invalid_path", None);
    assert_eq!(drover.record().await, before);
    let mut body = resource(&server, "app");
    body["password"] = "\u{202e}\u{7}anything".into();
    drover.post("/v1/resources", &body).await.is(201);
}

#[tokio::test]
async fn wrong_ids_and_addresses_are_refused() {
    let (drover, server, db) = Deployment::with_app().await;
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
        let answer = drover.delete(&format!("/v1/{kind}/{other}")).await;
        refused("other kind", &answer, 404, "not_found", Some("id"));
        let nobody = format!("/v1/{kind}/{prefix}{unknown}");
        let answer = drover.delete(&nobody).await;
        refused("unknown", &answer, 404, "not_found", Some("id"));
    }
    let answer = drover.delete(&format!("/v1/servers/{server}")).await;
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
    let (drover, server, db) = Deployment::with_app().await;
    let far = format!("9000000000000000000-{}", &db[3..]);
    let table = "
servers?state=well                        invalid_parameter state
servers?limit=0                           invalid_parameter limit
servers?limit=501                         invalid_parameter limit
servers?limit=ten                         invalid_parameter limit
servers?limit=1&limit=2                   invalid_parameter limit
servers?name=%00                          invalid_parameter name
servers?name=a%E2%80%AEb                  invalid_parameter name
servers?cursor=x                          invalid_cursor cursor
servers?cursor=DB                         invalid_cursor cursor
servers?server=SERVER                     unknown_parameter server
servers?color=red                         unknown_parameter color
resources?server=x                        malformed_id server
resources?server=DB                       invalid_parameter server
servers/SERVER/observations?cursor=1      invalid_cursor cursor
servers/SERVER/observations?limit=-1      invalid_parameter limit
servers/SERVER/observations?cursor=FAR    invalid_cursor cursor
servers/SERVER/transitions?cursor=1       invalid_cursor cursor
";
    for line in table.trim().lines() {
        let [path, code, field] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not three words: {line}");
        };
        let path = path.replace("SERVER", &server).replace("DB", &db);
        let path = format!("/v1/{}", path.replace("FAR", &far));
        refused(line, &drover.get(&path).await, 400, code, Some(field));
    }
}

#[tokio::test]
async fn wrong_jobs_and_tiers_are_refused() {
    let drover = Deployment::start().await;
    let server = drover.server("there").await;
    drover.feel(&server, crate::world::well()).await;
    drover.think(&server, None, None).await;
    let before = drover.record().await;
    let values = [("@server", &*server)];
    let table = r#"
{"job": "resolve", "subject": "@server"}        422 unknown_job job
{"subject": "@server"}                          422 missing_field job
{"job": "feel"}                                 422 missing_field subject
{"job": "feel", "subject": "x"}                 400 malformed_id subject
{"job": "feel", "subject": "db_01J8ZC0T3YQ5V7N2M4K6H9D1XB"} 404 not_found subject
{"job": "feel", "subject": "@server", "now": true} 422 unknown_field now
"#;
    refuse_all(&drover, "/v1/jobs", &json!({}), &values, table).await;
    let tiers = r#"
gold {}                                         missing_field rules
gold {"rules": []}                              invalid_field rules
gold {"rules": {"cadence": {"available": "39s"}}} invalid_field rules
gold {"rules": {"cadense": {}}}                 invalid_field rules
Gold {"rules": {}}                              invalid_field name
a.b {"rules": {}}                               invalid_field name
1a {"rules": {}}                                invalid_field name
gold {"rules": {}, "extra": 1}                  unknown_field extra
"#;
    for line in tiers.trim().lines() {
        let (name, rest) = line.split_once(' ').unwrap();
        let (body, expected) = rest.rsplit_once('}').unwrap();
        let (code, field) = expected.trim().split_once(' ').unwrap();
        let path = format!("/v1/tiers/{name}");
        let answer = drover.raw("PUT", &path, format!("{body}}}")).await;
        refused(line, &answer, 422, code, Some(field));
    }
    assert_eq!(drover.record().await, before);
}
