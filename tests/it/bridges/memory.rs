//! From memory to memory, and to a Kafka that is not there.

use std::fs;

use serde_json::{Value, json};

use super::{counted, ids, in_order, publish, reading, status, stored};
use crate::harness::{
    eventually,
    gateway::{Gateway, meshgate},
};

/// Two memory connectors, a Kafka that nobody has, and these subscriptions, one a line.
fn configuration(subscriptions: &str) -> String {
    with_routes("", subscriptions)
}

/// The same with routes before the others.
fn with_routes(routes: &str, subscriptions: &str) -> String {
    let lines = |text: &str| text.trim().lines().map(|line| format!("  - {{ {} }}\n", line.trim())).collect::<String>();
    let subscriptions = lines(subscriptions);
    let subscriptions =
        if subscriptions.is_empty() { String::new() } else { format!("subscriptions:\n{subscriptions}") };
    format!(
        r##"
connectors:
  here: {{ kind: memory }}
  there: {{ kind: memory }}
  away: {{ kind: kafka, brokers: ["127.0.0.1:1"] }}
routes:
{}  - {{ name: here, channel: "here/#", to: [{{ connector: here, topic: "{{channel}}" }}] }}
  - {{ name: there, channel: "there/#", to: [{{ connector: there, topic: "{{channel}}" }}] }}
  - {{ name: away, channel: "away/#", to: [{{ connector: away, topic: away }}] }}
{subscriptions}"##,
        lines(routes)
    )
}

#[test]
fn check_warns_of_dead_letters_that_memory_keeps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    for (dead_letter, warns) in [("there/dead", true), ("away/dead", false)] {
        let text =
            configuration(&format!("name: go, channel: here/a, sink: \"channel:there/b\", dead_letter: {dead_letter}"));
        fs::write(&file, text).expect("a file");
        let done = meshgate().arg("check").arg(&file).output().expect("it runs");
        let printed = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && printed.ends_with("meshgate.yaml: good\n"), "{printed}");
        assert_eq!(printed.contains(":11:72: subscriptions[0].dead_letter: warning: "), warns, "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_goes_on_and_each_key_keeps_its_order() {
    let gateway =
        Gateway::start(&configuration("name: go, channel: here/a, sink: \"channel:there/b\", concurrency: 16"));
    publish(&gateway, "here/a", 0..3000, 7).await;
    let status = counted(&gateway, "go", "delivered", 3000).await;
    let events = stored(&gateway, "there/b").await;
    let mut numbers = in_order(&events, 7);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>(), "each once");
    assert_eq!(
        (&status["lag"], &status["in_flight"], &status["waiting"]),
        (&json!(0), &json!(0), &json!(0)),
        "{status}"
    );
    assert_eq!(status["last_error"], Value::Null);
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    for line in [
        r#"meshgate_subscription_lag{subscription="go"} 0"#,
        r#"meshgate_subscription_events_total{subscription="go",outcome="delivered"} 3000"#,
        r#"meshgate_publish_total{listener="subscription",route="there",outcome="stored"} 3000"#,
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(r#"meshgate_connections{listener="subscription"}"#), "{metrics}");
}

#[tokio::test]
async fn an_event_stays_as_it_was() {
    let gateway = Gateway::start(&configuration("name: go, channel: \"here/+\", sink: \"channel:there/b\""));
    let event = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"t","subject":"s","time":"2026-01-31T12:00:00Z","amount":12,"flag":true,"datacontenttype":"application/json","data":{"a" :1.0}}"#;
    let url = gateway.channel_url("here/a");
    let request = gateway.client.post(&url).header("content-type", "application/cloudevents+json").body(event);
    assert_eq!(request.send().await.expect("an answer").status(), 202);
    let plain = gateway.client.post(&url).header("content-type", "text/plain").body("bytes").send().await;
    assert_eq!(plain.expect("an answer").status(), 202);
    counted(&gateway, "go", "delivered", 2).await;
    let (before, after) = (stored(&gateway, "here/a").await, stored(&gateway, "there/b").await);
    let bare = |events: &[Value]| {
        let mut events = events.to_vec();
        for event in &mut events {
            let all = event.as_object_mut().expect("an event");
            all.retain(|name, _| !name.starts_with("meshgate"));
        }
        events
    };
    assert_eq!(bare(&before), bare(&after));
    assert_eq!(after[0]["meshgatechannel"], "there/b");
    let page =
        gateway.client.get(gateway.channel_url("there/b")).header("accept", "application/cloudevents-batch+json");
    let text = page.send().await.expect("an answer").text().await.expect("a body");
    assert!(text.contains(r#""data":{"a" :1.0}"#), "the data's bytes: {text}");
}

#[tokio::test]
async fn filters_choose_and_what_they_refuse_is_settled() {
    let gateway = Gateway::start(&configuration(
        "name: go, channel: here/a, filters: [{ prefix: { id: yes } }, { not: { suffix: { id: no } } }], sink: \"channel:there/b\"",
    ));
    for id in ["yes 1", "other", "yes no", "yes 2"] {
        gateway.store("here/a", id).await;
    }
    let status = counted(&gateway, "go", "delivered", 2).await;
    assert_eq!((&status["events"]["filtered"], &status["lag"]), (&json!(2), &json!(0)));
    assert_eq!(ids(&stored(&gateway, "there/b").await), ["yes 1", "yes 2"]);
}

#[tokio::test]
async fn a_new_one_begins_where_from_says() {
    let gateway = Gateway::start(&configuration(""));
    gateway.store("here/a", "before").await;
    gateway.rewrite(&configuration(
        "name: default, channel: here/a, sink: \"channel:there/default\"
         name: earliest, channel: here/a, from: earliest, sink: \"channel:there/earliest\"
         name: latest, channel: here/a, from: latest, sink: \"channel:there/latest\"
         name: time, channel: here/a, from: \"2020-01-01T00:00:00Z\", sink: \"channel:there/time\"
         name: future, channel: here/a, from: \"2100-01-01T00:00:00Z\", sink: \"channel:there/future\"",
    ));
    for name in ["default", "earliest", "latest", "time", "future"] {
        reading(&gateway, name).await;
    }
    gateway.store("here/a", "after").await;
    for (name, expected) in [("default", 2), ("earliest", 2), ("time", 2), ("latest", 1)] {
        counted(&gateway, name, "delivered", expected).await;
    }
    assert_eq!(ids(&stored(&gateway, "there/latest").await), ["after"]);
    for name in ["default", "earliest", "time"] {
        assert_eq!(ids(&stored(&gateway, &format!("there/{name}")).await), ["before", "after"], "{name}");
    }
}

#[tokio::test]
async fn what_is_rejected_is_a_dead_letter_at_once() {
    let gateway = Gateway::start(&configuration(
        "name: go, channel: here/a, sink: \"channel:nowhere/b\", dead_letter: there/dead, retry: { attempts: 9 }",
    ));
    gateway.store("here/a", "1").await;
    let status = counted(&gateway, "go", "dead_lettered", 1).await;
    assert_eq!((&status["events"]["retried"], &status["lag"]), (&json!(0), &json!(0)), "{status}");
    let letter = &stored(&gateway, "there/dead").await[0];
    let text = |name: &str| letter[name].as_str().unwrap_or_else(|| panic!("{name} in {letter}")).to_owned();
    assert_eq!((text("id"), text("deadletterfrom")), ("1".into(), "here/a".into()));
    assert!(text("deadletterreason").contains("no route has a channel pattern that matches `nowhere/b`"), "{letter}");
    assert!(text("deadlettertime").starts_with("20"), "{letter}");
    assert_eq!(letter["data_base64"].as_str().or(letter["data"].as_str()), Some("ZGF0YQ=="), "{letter}");
}

#[tokio::test]
async fn what_is_unavailable_too_often_is_a_dead_letter() {
    let gateway = Gateway::start(&configuration(
        "name: go, channel: here/a, sink: \"channel:away/b\", dead_letter: there/dead, retry: { attempts: 3, initial: 10ms, max: 20ms }",
    ));
    gateway.store("here/a", "1").await;
    let status = counted(&gateway, "go", "dead_lettered", 1).await;
    assert_eq!((&status["events"]["retried"], &status["waiting"]), (&json!(2), &json!(0)), "{status}");
    let letter = &stored(&gateway, "there/dead").await[0];
    let reason = letter["deadletterreason"].as_str().expect("a reason");
    assert!(reason.starts_with("tried 3 times; unavailable: "), "{letter}");
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_stored_settles_nothing() {
    let subscription = |dead: &str| {
        configuration(&format!(
            "name: go, channel: here/a, sink: \"channel:nowhere/b\", dead_letter: {dead}, retry: {{ initial: 10ms, max: 20ms }}"
        ))
    };
    let gateway = Gateway::start(&subscription("away/dead"));
    gateway.store("here/a", "1").await;
    let tried = async || Some(status(&gateway, "go").await).filter(|now| now["events"]["retried"].as_u64() > Some(3));
    let now = eventually("tried again", tried).await;
    assert_eq!((&now["events"]["dead_lettered"], &now["lag"], &now["waiting"]), (&json!(0), &json!(1), &json!(1)));
    gateway.rewrite(&subscription("there/dead"));
    counted(&gateway, "go", "dead_lettered", 1).await;
    let letter = &stored(&gateway, "there/dead").await[0];
    assert!(letter["deadletterreason"].as_str().is_some_and(|reason| reason.contains("nowhere/b")), "{letter}");
}

#[tokio::test]
async fn without_dead_letters_a_rejected_event_waits_with_its_key_and_others_go_on() {
    let subscription = "name: go, channel: here/a, sink: \"channel:there/b\", retry: { initial: 10ms, max: 100ms }";
    let picky = |subscription: &str| {
        let routes = with_routes(
            "name: picky, channel: there/b, filters: [{ not: { exact: { subject: bad } } }], to: [{ connector: there, topic: b }]",
            subscription,
        );
        routes.replace("channel: \"there/#\"", "channel: there/c")
    };
    let gateway = Gateway::start(&picky(""));
    let send = async |id: &str, key: &str, subject: &str| {
        let event = gateway.event("here/a", id).header("ce-partitionkey", key).header("ce-subject", subject);
        assert_eq!(event.body("x").send().await.expect("an answer").status(), 202);
    };
    send("1", "stuck", "bad").await;
    send("2", "stuck", "good").await;
    for n in 3..40 {
        send(&n.to_string(), "free", "good").await;
    }
    gateway.rewrite(&picky(subscription)); // so that it gets many of a key at once
    let now = counted(&gateway, "go", "delivered", 37).await;
    let retried = now["events"]["retried"].as_u64().expect("a number");
    let more =
        async || Some(status(&gateway, "go").await).filter(|now| now["events"]["retried"].as_u64() > Some(retried));
    let now = eventually("it is tried again", more).await;
    assert_eq!((&now["lag"], &now["waiting"]), (&json!(2), &json!(1)), "{now}");
    assert!(now["last_error"]["detail"].as_str().is_some_and(|detail| detail.starts_with("rejected: ")), "{now}");
    assert_eq!(stored(&gateway, "there/b").await.len(), 37);
    gateway.rewrite(&configuration(subscription));
    counted(&gateway, "go", "delivered", 39).await;
    assert_eq!(ids(&stored(&gateway, "there/b").await), ["1", "2"], "in their order, in the topic of the new routes");
}

#[tokio::test]
async fn events_that_go_in_a_circle_are_forwarded_eight_times() {
    // Without `filters` the file would be refused.
    let gateway = Gateway::start(&configuration(
        "name: forth, channel: here/a, filters: [{ prefix: { type: com } }], sink: \"channel:there/b\", dead_letter: here/dead
         name: back, channel: there/b, sink: \"channel:here/a\", dead_letter: here/dead",
    ));
    gateway.store("here/a", "1").await;
    let forth = counted(&gateway, "forth", "hops_refused", 1).await;
    let forth_letters = counted(&gateway, "forth", "dead_lettered", 1).await;
    assert_eq!((&forth["events"]["delivered"], &forth_letters["events"]["delivered"]), (&json!(4), &json!(4)));
    let back = status(&gateway, "back").await;
    assert_eq!((&back["events"]["delivered"], &back["events"]["hops_refused"]), (&json!(4), &json!(0)), "{back}");
    assert_eq!((stored(&gateway, "here/a").await.len(), stored(&gateway, "there/b").await.len()), (5, 4));
    let letter = &stored(&gateway, "here/dead").await[0];
    assert!(letter["deadletterreason"].as_str().is_some_and(|reason| reason.contains("8 times")), "{letter}");
}

#[tokio::test]
async fn hops_that_a_client_counts_are_counted_on() {
    let gateway =
        Gateway::start(&configuration("name: go, channel: here/a, sink: \"channel:there/b\", dead_letter: here/dead"));
    for hops in ["7", "8", "9"] {
        let sent = gateway.event("here/a", hops).header("meshgate-hops", hops).send().await;
        assert_eq!(sent.expect("an answer").status(), 202);
    }
    counted(&gateway, "go", "hops_refused", 1).await;
    counted(&gateway, "go", "delivered", 2).await;
    assert_eq!(ids(&stored(&gateway, "there/b").await), ["7", "9"], "9 is no count");
    assert_eq!(ids(&stored(&gateway, "here/dead").await), ["8"]);
}

#[tokio::test]
async fn without_dead_letters_what_went_in_a_circle_waits() {
    let gateway = Gateway::start(&configuration(
        "name: forth, channel: here/a, filters: [{ prefix: { type: com } }], sink: \"channel:there/b\", retry: { initial: 1ms, max: 20ms }
         name: back, channel: there/b, sink: \"channel:here/a\"",
    ));
    gateway.store("here/a", "1").await;
    let refused =
        async || Some(status(&gateway, "forth").await).filter(|now| now["events"]["hops_refused"].as_u64() > Some(2));
    let now = eventually("it is refused again and again", refused).await;
    assert_eq!((&now["lag"], &now["waiting"], &now["events"]["delivered"]), (&json!(1), &json!(1), &json!(4)), "{now}");
}

#[tokio::test]
async fn a_reload_adds_changes_and_removes_and_leaves_the_others_alone() {
    let stays = "name: stays, channel: here/a, sink: \"channel:there/stays\"";
    let gateway = Gateway::start(&configuration(&format!(
        "{stays}
         name: changes, channel: here/a, sink: \"channel:there/one\"
         name: goes, channel: here/a, sink: \"channel:there/goes\""
    )));
    gateway.store("here/a", "1").await;
    for name in ["stays", "changes", "goes"] {
        counted(&gateway, name, "delivered", 1).await;
    }
    gateway.rewrite(&configuration(&format!(
        "name: comes, channel: here/a, sink: \"channel:there/comes\", from: latest
         {stays}
         name: changes, channel: here/a, sink: \"channel:there/two\", retry: {{ max: 1m }}"
    )));
    reading(&gateway, "comes").await;
    gateway.store("here/a", "2").await;
    counted(&gateway, "stays", "delivered", 2).await;
    counted(&gateway, "changes", "delivered", 2).await;
    counted(&gateway, "comes", "delivered", 1).await;
    assert_eq!(status(&gateway, "goes").await, Value::Null);
    for (channel, expected) in
        [("stays", &["1", "2"][..]), ("one", &["1"]), ("two", &["2"]), ("comes", &["2"]), ("goes", &["1"])]
    {
        assert_eq!(ids(&stored(&gateway, &format!("there/{channel}")).await), expected, "{channel}");
    }
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    assert!(!metrics.contains(r#"meshgate_subscription_events_total{subscription="goes""#), "{metrics}");
    // Another channel for the same group: what is new there is read from its start.
    gateway.store("here/b", "3").await;
    gateway.rewrite(&configuration("name: stays, channel: here/b, sink: \"channel:there/stays\""));
    counted(&gateway, "stays", "delivered", 3).await;
    gateway.store("here/a", "4").await;
    gateway.store("here/b", "5").await;
    counted(&gateway, "stays", "delivered", 4).await;
    assert_eq!(ids(&stored(&gateway, "there/stays").await), ["1", "2", "3", "5"]);
}
