//! A list of many objects: its first page, and all of it.

use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use hyper::Method;

use super::{
    Settings,
    beside::{self, Kinds},
    https::{Connection, JSON},
    latency::Latency,
    load::fill,
    memory, objects,
    table::Table,
    writes::{ask, namespace},
};

/// What kubectl asks for at a time.
const PAGE: usize = 500;
const PAGES: usize = 200;
const WHOLES: usize = 20;

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let count = settings.listed;
    let (ours, beside) = beside::both(Kinds::BuiltIn, async |side| {
        let target = side.admin()?;
        let mut api = target.connect().await?;
        namespace(&mut api).await?;
        fill(&target, count, |index| {
            let object = objects::config_map(&format!("l-{index}"));
            ask(Method::POST, objects::CONFIG_MAPS.to_owned(), JSON, &object)
        })
        .await?;
        let page = format!("{}?limit={PAGE}", objects::CONFIG_MAPS);
        let (pages, _) = timed(&mut api, &page, PAGES, PAGE.min(count)).await?;
        let (wholes, size) = timed(&mut api, objects::CONFIG_MAPS, WHOLES, count).await?;
        Ok((pages, format!("{wholes} ({})", memory::shown(size))))
    })
    .await?;
    let (pages, wholes) = beside.unzip();
    table.row(
        &format!("list of {count} objects, first page of {PAGE}"),
        &ours.0.to_string(),
        &beside::kube(pages),
        "< 300 ms",
    );
    table.row(
        &format!("list of {count} objects, whole"),
        &ours.1,
        &beside::kube(wholes),
        "",
    );
    Ok(())
}

/// Lists again and again, until the last byte each time; also how large the answer was.
async fn timed(
    api: &mut Connection,
    path: &str,
    times: usize,
    items: usize,
) -> anyhow::Result<(Latency, u64)> {
    let mut took = Vec::with_capacity(times);
    let mut size = 0;
    for _ in 0..times {
        let begin = Instant::now();
        let (status, body) = api.send(Method::GET, path, Bytes::new()).await?;
        took.push(begin.elapsed());
        ensure!(status.is_success(), "{path}: {status}");
        size = u64::try_from(body.len())?;
    }
    let (_, body) = api.send(Method::GET, path, Bytes::new()).await?;
    let list: serde_json::Value = serde_json::from_slice(&body)?;
    let listed = list["items"].as_array().map_or(0, Vec::len);
    ensure!(listed >= items, "{path}: {listed} of {items}");
    Ok((Latency::of(took), size))
}
