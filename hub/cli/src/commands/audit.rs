//! `koinon audit`: who did what, and whether the log still says so.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, ErrorKind},
    path::{Path, PathBuf},
};

use koinon_api::audit::{Head, PATH, Page, Record, Verifier};
use serde_json::Value;

use crate::{
    args::HubArgs,
    client::Server,
    error::{Error, Result},
    output::{self, Output, Table},
};

/// Records asked for at once.
const PAGE: usize = 500;
/// Chains without an end that are named.
const MOST_OPEN: usize = 10;
/// Faults that are told one by one.
const MOST_FAULTS: usize = 100;

/// Read and check the audit log.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// Show who did what, the newest last
    List(ListArgs),
    /// Check that no record was altered, deleted or inserted
    Verify(VerifyArgs),
}

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only what this user did
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only requests of this verb
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// Only requests about this resource, such as `managedclusters`
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// At most so many records
    #[arg(long, default_value_t = 200, value_name = "NUMBER")]
    limit: usize,
    /// Read JSON lines from a file instead of asking the hub
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print them.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Check JSON lines in a file instead of what the hub keeps
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where the ends of the chains are kept from one check to the next, apart from the log: what was seen must still be there
    #[arg(long, value_name = "FILE")]
    seen: Option<PathBuf>,
}

pub(crate) async fn run(hub: &HubArgs, command: AuditCommand) -> Result<()> {
    match command {
        AuditCommand::List(args) => list(hub, &args).await,
        AuditCommand::Verify(args) => verify(hub, args.file.as_deref(), args.seen.as_deref()).await,
    }
}

async fn list(hub: &HubArgs, args: &ListArgs) -> Result<()> {
    let mut last: VecDeque<Record> = VecDeque::new();
    read(hub, args.file.as_deref(), |found| {
        if let Found::Record(record) = found
            && args.shows(&record)
        {
            last.push_back(record);
            if last.len() > args.limit {
                last.pop_front();
            }
        }
    })
    .await?;
    if args.output == Output::Json {
        return output::json_list(last.make_contiguous());
    }
    let mut table = Table::new(&["TIME", "USER", "VERB", "OBJECT", "FROM", "CODE"]);
    for event in last.iter().map(Record::tree) {
        let event = &event;
        table.row([
            text(event, "/requestReceivedTimestamp"),
            user(event),
            text(event, "/verb"),
            object(event),
            text(event, "/sourceIPs/0"),
            event
                .pointer("/responseStatus/code")
                .map(Value::to_string)
                .unwrap_or_default(),
        ]);
    }
    table.print("No records.")
}

async fn verify(hub: &HubArgs, file: Option<&Path>, seen: Option<&Path>) -> Result<()> {
    let mut verifier = Verifier::default();
    if let Some(path) = seen {
        seen_before(path)?
            .into_iter()
            .for_each(|head| verifier.was_seen(head));
    }
    let mut unreadable = Vec::new();
    read(hub, file, |found| match found {
        Found::Trimmed(head) => verifier.begins_after(head),
        Found::Record(record) => verifier.push(&record),
        Found::Unreadable(place) => unreadable.push(place),
    })
    .await?;
    verifier.finish();
    let mut faults: Vec<String> = verifier.faults().iter().map(ToString::to_string).collect();
    faults.extend(
        unreadable
            .iter()
            .map(|place| format!("{place} is no record")),
    );
    for head in verifier.unseen() {
        let chain = &head.replica;
        if file.is_some() {
            eprintln!("note: the chain {chain} is in another file, or in none");
        } else {
            faults.push(format!("the chain {chain} is missing"));
        }
    }
    for head in verifier.begun_late() {
        let begins = format!("{}/{}", head.replica, head.sequence);
        if file.is_some() {
            // A file that was rotated begins where the one before it ended.
            eprintln!("note: the chain begins at {begins}; what was before is in another file");
        } else {
            faults.push(format!("{begins} is the first of its chain that is left"));
        }
    }
    let open: Vec<String> = verifier
        .open()
        .map(|head| format!("{}/{}", head.replica, head.sequence))
        .collect();
    if !open.is_empty() {
        let (shown, more) = open.split_at(open.len().min(MOST_OPEN));
        let more = match more.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        eprintln!(
            "note: not ended in order, so that their hubs run, were killed, or later records were cut off: {}{more}",
            shown.join(", ")
        );
    }
    let (records, chains) = verifier.size();
    if records == 0 {
        eprintln!("note: the log is empty: nothing was ever recorded, or all of it is gone");
    }
    if faults.is_empty() {
        if let Some(path) = seen {
            keep_seen(path, verifier.ends())?;
        }
        return output::line(&format!(
            "{records} records in {chains} chains: nothing was altered, deleted or inserted"
        ));
    }
    for fault in faults.iter().take(MOST_FAULTS) {
        output::line(fault)?;
    }
    let untold = verifier.fault_count() - verifier.faults().len() as u64;
    let count = faults.len() as u64 + untold;
    Err(Error::failed(format!(
        "the audit log was tampered with, or damaged: {count} faults in {records} records"
    )))
}

/// What was seen when the log was checked last; nothing, the first time.
fn seen_before(path: &Path) -> Result<Vec<Head>> {
    let unreadable = |why: &str| Error::failed(format!("cannot read {}: {why}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| unreadable(&error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

/// Keeps it for the next time; half of it is never there.
fn keep_seen<'a>(path: &Path, ends: impl Iterator<Item = &'a Head>) -> Result<()> {
    let failed = |error| Error::caused(format!("cannot write {}", path.display()), error);
    let text = serde_json::to_string(&ends.collect::<Vec<_>>())
        .map_err(|error| Error::failed(error.to_string()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

/// What a log is made of.
enum Found {
    Trimmed(Head),
    Record(Record),
    /// A line that is no record, and where it is.
    Unreadable(String),
}

/// Reads a log in order, from the hub or from a file.
async fn read(hub: &HubArgs, file: Option<&Path>, mut see: impl FnMut(Found)) -> Result<()> {
    if let Some(path) = file {
        let unreadable = |error| Error::caused(format!("cannot read {}", path.display()), error);
        let lines = BufReader::new(std::fs::File::open(path).map_err(unreadable)?).lines();
        for (number, line) in lines.enumerate() {
            let line = line.map_err(unreadable)?;
            see(match serde_json::from_str(&line) {
                Ok(record) => Found::Record(record),
                Err(_) => Found::Unreadable(format!("line {}", number + 1)),
            });
        }
        return Ok(());
    }
    let server = Server::hub(hub).await?;
    let mut after = 0;
    loop {
        let path = format!("{PATH}?after={after}&limit={PAGE}");
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(|error| Error::caused("cannot ask for audit records", error))?;
        let page: Page = server
            .call(
                "cannot read the audit log",
                server.client().request(request),
            )
            .await?;
        page.trimmed
            .into_iter()
            .for_each(|head| see(Found::Trimmed(head)));
        page.unreadable
            .iter()
            .for_each(|id| see(Found::Unreadable(format!("row {id} of the table"))));
        page.records
            .into_iter()
            .for_each(|record| see(Found::Record(record)));
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

impl ListArgs {
    fn shows(&self, record: &Record) -> bool {
        let event = record.tree();
        let is = |wanted: &Option<String>, pointer: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| text(&event, pointer) == *wanted)
        };
        event.get("verb").is_some()
            && (is(&self.user, "/user/username") || is(&self.user, "/impersonatedUser/username"))
            && is(&self.verb, "/verb")
            && is(&self.resource, "/objectRef/resource")
    }
}

fn text(event: &Value, pointer: &str) -> String {
    let text = event.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Who, and in whose name.
fn user(event: &Value) -> String {
    let other = text(event, "/impersonatedUser/username");
    let user = text(event, "/user/username");
    if other.is_empty() {
        user
    } else {
        format!("{user} as {other}")
    }
}

/// `resource/name` in its namespace, or the path.
fn object(event: &Value) -> String {
    let part = |field: &str| text(event, &format!("/objectRef/{field}"));
    let mut shown = part("resource");
    if shown.is_empty() {
        return text(event, "/requestURI");
    }
    for (slash, field) in [("/", "name"), ("/", "subresource"), (" in ", "namespace")] {
        let more = part(field);
        if !more.is_empty() {
            shown.push_str(slash);
            shown.push_str(&more);
        }
    }
    shown
}
