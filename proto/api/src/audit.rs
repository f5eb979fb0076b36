//! Audit records: each carries the hash of the one before it, so that tampering shows.
//!
//! Every process of the hub writes a chain of its own: `sequence` counts from 1, `previous` is the hash of the record
//! before, `hash` is SHA-256 over everything else in the record, the event as the text that it was written as. Some records of a
//! chain name the heads of others: the first, one now and then, and one before old records are removed. So a whole chain, or the end of
//! one, cannot vanish unnoticed, and neither can its beginning before its time.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use sha2::{Digest as _, Sha256};

/// Where the hub serves the records that it keeps.
pub const PATH: &str = "/audit/records";

/// What the first record of a chain has as `previous`.
pub const NONE: &str = "";

/// The kind of an event that says which records are about to be removed because their time is over.
pub const TRIMMED: &str = "Trimmed";
/// What the last record of a chain is, when its hub was stopped in order.
pub const ENDED: &str = "ChainEnd";

/// Faults that are remembered one by one.
const MOST_FAULTS: usize = 1_000;

/// One entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What happened: an `audit.k8s.io/v1` event, or one of the chain itself. Text, for its hash is over the text.
    pub event: Box<RawValue>,
    /// SHA-256 in hex over everything else here.
    pub hash: String,
    /// The hash of the record before; empty in the first.
    pub previous: String,
    /// The process that wrote it.
    pub replica: String,
    /// Its place in that process' chain, from 1.
    pub sequence: u64,
}

/// The end of a chain, as far as somebody has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The chain.
    pub replica: String,
    /// The last record's place in it.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

/// A page of records, as the hub answers with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// Where chains begin whose older records were removed when their time was over.
    #[serde(default)]
    pub trimmed: Vec<Head>,
    /// In the order in which they were stored.
    pub records: Vec<Record>,
    /// Places in the table where something is that is no record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<i64>,
    /// What to ask for next (`after`); absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// The part of an event that is about chains.
#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    kind: String,
    chains: Vec<Head>,
}

impl Record {
    /// Makes the record that follows `previous`.
    ///
    /// # Panics
    ///
    /// Never: a JSON tree has a text.
    #[must_use]
    pub fn seal(replica: &str, previous: Option<&Head>, event: &Value) -> Self {
        let mut record = Self {
            event: to_raw_value(event).expect("a JSON tree has a text"),
            hash: String::new(),
            previous: previous.map_or(NONE, |head| &head.hash).to_owned(),
            replica: replica.to_owned(),
            sequence: previous.map_or(1, |head| head.sequence + 1),
        };
        record.hash = record.digest();
        record
    }

    /// The end of its chain, if it is that.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            replica: self.replica.clone(),
            sequence: self.sequence,
            hash: self.hash.clone(),
        }
    }

    /// The event as a tree; null if it is nested too deep for one.
    #[must_use]
    pub fn tree(&self) -> Value {
        serde_json::from_str(self.event.get()).unwrap_or_default()
    }

    /// The hash that it must have.
    fn digest(&self) -> String {
        let mut sha = Sha256::new();
        let sequence = self.sequence.to_string();
        for part in [&self.previous, &self.replica, &sequence, self.event.get()] {
            sha.update((part.len() as u64).to_be_bytes());
            sha.update(part.as_bytes());
        }
        let digest = sha.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The record is not what was written.
    Altered(Head),
    /// Records are missing before this one: how many.
    Missing(Head, u64),
    /// The record does not belong where it is.
    Inserted(Head),
    /// The record before this one is another than was written.
    Replaced(Head),
    /// A chain was there and its end is not.
    Lost(Head),
    /// The beginning of a chain up to here was removed, and no chain says that its time was over.
    CutOff(Head),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, head) = match self {
            Self::Altered(head) => ("was altered", head),
            Self::Missing(head, 1) => ("follows a record that is missing", head),
            Self::Missing(head, count) => {
                let Head {
                    replica, sequence, ..
                } = head;
                return write!(
                    f,
                    "{replica}/{sequence} follows {count} records that are missing"
                );
            }
            Self::Inserted(head) => ("was inserted, or put elsewhere", head),
            Self::Replaced(head) => ("follows a record that was replaced", head),
            Self::Lost(head) => ("and perhaps more before it is missing", head),
            Self::CutOff(head) => ("and all before it is missing, before its time", head),
        };
        write!(f, "{}/{} {what}", head.replica, head.sequence)
    }
}

/// Reads a log in order and finds what was done to it. Memory grows with the chains, not with the records.
#[derive(Debug, Default)]
pub struct Verifier {
    heads: BTreeMap<String, Head>,
    /// What the log says was removed when its time was over, and what its chains say of that.
    trimmed: BTreeMap<String, Head>,
    announced: BTreeMap<String, Vec<Head>>,
    /// Chains that were seen from somewhere in their middle, which is all right for a file that was rotated.
    begun_late: Vec<Head>,
    /// Chains that a later one has seen and that are not here at all, which is all right for a file of another replica.
    unseen: Vec<Head>,
    /// The first of them.
    faults: Vec<Fault>,
    fault_count: u64,
    /// Chains whose last record does not say that it is the last.
    open: BTreeMap<String, Head>,
    /// What was there when somebody read the log earlier, who kept it elsewhere.
    seen: BTreeMap<String, Head>,
    records: u64,
}

impl Verifier {
    /// Says where a chain begins whose older records were removed on purpose; said again, or later, it counts from then on.
    pub fn begins_after(&mut self, head: Head) {
        let newer = self
            .trimmed
            .get(&head.replica)
            .is_none_or(|known| known.sequence < head.sequence);
        if newer {
            self.trimmed.insert(head.replica.clone(), head);
        }
    }

    /// Says what the end of a chain was when the log was read earlier: it must still be there, and the same. Only so a log shows that its
    /// end was cut off, as long as nobody adds to it.
    pub fn was_seen(&mut self, head: Head) {
        self.seen.insert(head.replica.clone(), head);
    }

    /// Looks at the next record.
    pub fn push(&mut self, record: &Record) {
        self.records += 1;
        let head = record.head();
        if record.digest() != record.hash {
            self.fault(Fault::Altered(head.clone()));
        } else if self
            .seen
            .get(&record.replica)
            .is_some_and(|seen| seen.sequence == head.sequence && seen.hash != head.hash)
        {
            // It fits what is before and after it, for all of that was made anew.
            self.fault(Fault::Altered(head.clone()));
        }
        self.follow(record, &head);
        if self
            .heads
            .get(&record.replica)
            .is_some_and(|last| last.sequence >= record.sequence)
        {
            return;
        }
        let about: About = serde_json::from_str(record.event.get()).unwrap_or_default();
        if about.kind == ENDED {
            self.open.remove(&record.replica);
        } else {
            self.open.insert(record.replica.clone(), head.clone());
        }
        for known in about.chains {
            if about.kind == TRIMMED {
                let announced = self.announced.entry(known.replica.clone()).or_default();
                announced.push(known);
            } else {
                self.was_there(known);
            }
        }
        self.heads.insert(record.replica.clone(), head);
    }

    /// Ends the reading.
    pub fn finish(&mut self) {
        let cut = |head: &&Head| {
            let announced = self.announced.get(&head.replica).into_iter().flatten();
            // A later removal says as much.
            !announced.into_iter().any(|said| {
                said.sequence > head.sequence
                    || said.sequence == head.sequence && said.hash == head.hash
            })
        };
        let cut: Vec<Head> = self.trimmed.values().filter(cut).cloned().collect();
        for head in cut {
            self.fault(Fault::CutOff(head));
        }
        for (_, seen) in std::mem::take(&mut self.seen) {
            // Whether it is the same was asked when it was read.
            let reaches = |heads: &BTreeMap<String, Head>| {
                let head = heads.get(&seen.replica);
                head.is_some_and(|head| head.sequence >= seen.sequence)
            };
            if !reaches(&self.heads) && !reaches(&self.trimmed) {
                self.fault(Fault::Lost(seen));
            }
        }
    }

    /// The ends of all chains: what [`Self::was_seen`] is to be told the next time.
    pub fn ends(&self) -> impl Iterator<Item = &Head> {
        self.heads.values()
    }

    /// Whether the record follows what was seen of its chain.
    fn follow(&mut self, record: &Record, head: &Head) {
        let trimmed = self.trimmed.get(&record.replica);
        let after_trimmed = trimmed.is_some_and(|trimmed| {
            record.sequence == trimmed.sequence + 1 && record.previous == trimmed.hash
        });
        match self.heads.get(&record.replica) {
            // Also in the middle of a reading: the oldest may be removed meanwhile.
            _ if after_trimmed => {}
            None if trimmed.is_some_and(|trimmed| record.sequence > trimmed.sequence + 1) => {
                let from = trimmed.map_or(0, |trimmed| trimmed.sequence);
                let missing = record.sequence - from - 1;
                self.fault(Fault::Missing(head.clone(), missing));
            }
            // Read before it was removed.
            None if trimmed.is_some_and(|trimmed| record.sequence <= trimmed.sequence) => {}
            None if trimmed.is_some() => self.fault(Fault::Replaced(head.clone())),
            None if record.sequence != 1 => self.begun_late.push(head.clone()),
            None if record.previous != NONE => self.fault(Fault::Altered(head.clone())),
            None => {}
            Some(last) if record.sequence <= last.sequence => {
                self.fault(Fault::Inserted(head.clone()));
            }
            Some(last) if record.sequence > last.sequence + 1 => {
                let missing = record.sequence - last.sequence - 1;
                self.fault(Fault::Missing(head.clone(), missing));
            }
            Some(last) if record.previous != last.hash => {
                self.fault(Fault::Replaced(head.clone()));
            }
            Some(_) => {}
        }
    }

    /// A later record has seen this.
    fn was_there(&mut self, known: Head) {
        let trimmed = self.trimmed.get(&known.replica);
        let is_gone = trimmed.is_some_and(|trimmed| trimmed.sequence >= known.sequence);
        match self.heads.get(&known.replica) {
            Some(have) if have.sequence > known.sequence => {}
            Some(have) if have.sequence == known.sequence => {
                if have.hash != known.hash {
                    self.fault(Fault::Replaced(known));
                }
            }
            _ if is_gone => {}
            Some(_) => self.fault(Fault::Lost(known)),
            None => self.unseen.push(known),
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// What was found first, in order of discovery.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How much was found.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.fault_count
    }

    /// Chains of which nothing was shown, though one that was knows them.
    #[must_use]
    pub fn unseen(&self) -> &[Head] {
        &self.unseen
    }

    /// Chains of which the beginning was not shown.
    #[must_use]
    pub fn begun_late(&self) -> &[Head] {
        &self.begun_late
    }

    /// The ends of chains that were not ended in order: the hub that writes one runs, or was killed, or its last records were cut off.
    pub fn open(&self) -> impl ExactSizeIterator<Item = &Head> {
        self.open.values()
    }

    /// How many records and chains were read.
    #[must_use]
    pub fn size(&self) -> (u64, usize) {
        (self.records, self.heads.len())
    }
}

#[cfg(test)]
mod tests;
