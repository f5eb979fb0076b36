//! Telling a row to a server.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Context;
use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::Value;

use super::row::{Row, Step};

/// How long an answer may take; watches in rows say when they end.
const PATIENCE: Duration = Duration::from_secs(40);

/// One of the two servers.
#[derive(Clone)]
pub struct Server {
    pub name: &'static str,
    pub client: Client,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub code: u16,
    /// Header fields that a client acts on.
    pub headers: BTreeMap<String, String>,
    /// One value, or one for each event of a watch; text that is no JSON is a string.
    pub body: Vec<Value>,
}

impl Server {
    /// Tells a row in a namespace of its own and returns the answers, one for each step.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn play(&self, row: &Row) -> anyhow::Result<Vec<Answer>> {
        let namespace = serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("row-{}", row.at) } });
        let made = Step {
            method: "POST".to_owned(),
            path: "/api/v1/namespaces".to_owned(),
            content_type: "application/json".to_owned(),
            accept: "application/json".to_owned(),
            body: namespace.to_string().into_bytes(),
            setup: true,
        };
        let answer = self.ask(&made, &BTreeMap::new()).await?;
        anyhow::ensure!(answer.code == 201, "the namespace of a row: {answer:?}");
        self.tell(row, BTreeMap::new()).await
    }

    /// The same for a row that needs no namespace of its own, where some of what its steps name is `known`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn tell(
        &self,
        row: &Row,
        mut known: BTreeMap<String, String>,
    ) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for step in &row.steps {
            let answer = self
                .ask(step, &known)
                .await
                .with_context(|| format!("{}: {} {}", self.name, step.method, step.path))?;
            learn(&mut known, &answer);
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Makes one request; what begins with `$` is filled in from `known`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn ask(
        &self,
        step: &Step,
        known: &BTreeMap<String, String>,
    ) -> anyhow::Result<Answer> {
        let fill = |text: &str| {
            let mut text = text.to_owned();
            for (name, value) in known.iter().rev() {
                text = text.replace(name, value);
            }
            text
        };
        let body = match std::str::from_utf8(&step.body) {
            Ok(text) => fill(text).into_bytes(),
            Err(_) => step.body.clone(),
        };
        let mut request = Request::builder()
            .method(step.method.as_str())
            .uri(fill(&step.path))
            .header("user-agent", "conformance/1.0")
            .header("accept", &step.accept);
        if !step.content_type.is_empty() {
            request = request.header("content-type", &step.content_type);
        }
        let request = request.body(Body::from(body))?;
        let answer = tokio::time::timeout(PATIENCE, async {
            let (head, body) = self.client.send(request).await?.into_parts();
            let bytes = body.collect().await?.to_bytes();
            anyhow::Ok((head, bytes))
        });
        let (head, bytes) = answer.await.context("no answer in time")??;
        let headers = ["content-type", "warning", "retry-after"]
            .into_iter()
            .filter_map(|name| {
                let all: Vec<&str> = head
                    .headers
                    .get_all(name)
                    .iter()
                    .filter_map(|value| value.to_str().ok())
                    .collect();
                (!all.is_empty()).then(|| (name.to_owned(), all.join(" | ")))
            })
            .collect();
        Ok(Answer {
            code: head.status.as_u16(),
            headers,
            body: values(&bytes),
        })
    }
}

fn values(bytes: &[u8]) -> Vec<Value> {
    let parsed: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(bytes)
        .into_iter()
        .collect();
    parsed.unwrap_or_else(|_| vec![Value::from(String::from_utf8_lossy(bytes).trim())])
}

/// Remembers what later steps may name: `$rv`, `$uid` and `$continue` of the last answer that had them, `$first` the
/// first revision.
fn learn(known: &mut BTreeMap<String, String>, answer: &Answer) {
    for value in &answer.body {
        let metadata = value
            .get("metadata")
            .or_else(|| value.get("object")?.get("metadata"));
        for (field, name) in [
            ("resourceVersion", "$rv"),
            ("uid", "$uid"),
            ("continue", "$continue"),
        ] {
            if let Some(text) = metadata
                .and_then(|metadata| metadata[field].as_str())
                .filter(|text| !text.is_empty())
            {
                known.insert(name.to_owned(), text.to_owned());
                if name == "$rv" {
                    known
                        .entry("$first".to_owned())
                        .or_insert_with(|| text.to_owned());
                }
            }
        }
    }
}
