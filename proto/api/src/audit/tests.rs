use serde_json::json;

use super::*;

fn chain(replica: &str, length: u64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for number in 0..length {
        let previous = records.last().map(Record::head);
        // As whoever asks writes it: a number that changes when it is read and written again.
        let event = json!({ "verb": "create", "number": number, "of": 0.1 });
        records.push(Record::seal(replica, previous.as_ref(), &event));
    }
    records
}

fn read(records: &[Record]) -> Verifier {
    let mut verifier = Verifier::default();
    // As they come back from a file or the hub.
    for record in records {
        let text = serde_json::to_string(record).unwrap();
        verifier.push(&serde_json::from_str(&text).unwrap());
    }
    verifier.finish();
    verifier
}

fn faults(records: &[Record]) -> Vec<Fault> {
    read(records).faults().to_vec()
}

fn heads_event(kind: &str, heads: &[Head]) -> Value {
    json!({ "kind": kind, "chains": heads })
}

#[test]
fn an_untouched_log_has_no_faults_also_of_several_chains() {
    assert_eq!(faults(&[]), []);
    assert_eq!(faults(&chain("a", 5)), []);
    let (a, b) = (chain("a", 3), chain("b", 3));
    let mixed: Vec<Record> = a.into_iter().zip(b).flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(faults(&mixed), []);
}

#[test]
fn the_text_counts_and_not_what_it_means() {
    let text = r#"{"a":1e400,"b":0.30000000000000004,"z":1,"b":2}"#;
    let event = RawValue::from_string(text.to_owned()).unwrap();
    let mut record = Record::seal("a", None, &Value::Null);
    record.event = event;
    record.hash = record.digest();
    assert_eq!(faults(std::slice::from_ref(&record)), []);
    record.event = RawValue::from_string(text.replace(":1,", ":1 ,")).unwrap();
    assert_eq!(faults(std::slice::from_ref(&record)).len(), 1);
}

#[test]
fn each_kind_of_tampering_shows() {
    let good = chain("a", 5);
    let mut altered = good.clone();
    let text = altered[2].event.get().replace("create", "get");
    altered[2].event = RawValue::from_string(text).unwrap();
    assert_eq!(faults(&altered), [Fault::Altered(good[2].head())]);

    // Altered, and its hash made anew: the next one does not follow it.
    let mut forged = good.clone();
    forged[2] = Record::seal("a", Some(&good[1].head()), &json!({}));
    assert_eq!(faults(&forged), [Fault::Replaced(good[3].head())]);

    let mut deleted = good.clone();
    deleted.remove(2);
    assert_eq!(faults(&deleted), [Fault::Missing(good[3].head(), 1)]);

    let mut inserted = good.clone();
    let extra = Record::seal("a", Some(&good[2].head()), &json!({ "verb": "forged" }));
    inserted.insert(3, extra);
    assert!(!faults(&inserted).is_empty());

    let mut swapped = good;
    swapped.swap(1, 2);
    assert!(!faults(&swapped).is_empty());
}

#[test]
fn the_end_of_a_chain_is_missed_by_the_next_one() {
    let old = chain("a", 4);
    let next = Record::seal("b", None, &heads_event("ChainBegin", &[old[3].head()]));
    let all = [&old[..], std::slice::from_ref(&next)].concat();
    assert_eq!(faults(&all), []);
    let cut = [&old[..3], std::slice::from_ref(&next)].concat();
    assert_eq!(faults(&cut), [Fault::Lost(old[3].head())]);
    assert_eq!(read(&[next]).unseen(), [old[3].head()]);
}

#[test]
fn the_beginning_may_go_only_when_a_chain_says_so() {
    let good = chain("a", 5);
    let said = Record::seal(
        "a",
        Some(&good[4].head()),
        &heads_event(TRIMMED, &[good[1].head()]),
    );
    let left = [&good[2..], std::slice::from_ref(&said)].concat();
    let trimmed = |records: &[Record], head: Head| {
        let mut verifier = Verifier::default();
        verifier.begins_after(head);
        records.iter().for_each(|record| verifier.push(record));
        verifier.finish();
        verifier.faults().to_vec()
    };
    assert_eq!(trimmed(&left, good[1].head()), []);
    // Removed by somebody who wrote nothing but where the chain is to begin.
    assert_eq!(
        trimmed(&good[2..], good[1].head()),
        [Fault::CutOff(good[1].head())]
    );
    assert_eq!(
        trimmed(&left[1..], good[2].head()),
        [Fault::CutOff(good[2].head())]
    );
    // More is gone than was said.
    assert_eq!(
        trimmed(&left[1..], good[1].head()),
        [Fault::Missing(good[3].head(), 1)]
    );
    // Without that word on the beginning it is a file that was rotated.
    let verifier = read(&good[2..]);
    assert_eq!(
        (verifier.faults(), verifier.begun_late().len()),
        (&[][..], 1)
    );
}

#[test]
fn what_is_removed_while_the_log_is_read_is_no_fault() {
    let good = chain("a", 6);
    let mut verifier = Verifier::default();
    verifier.push(&good[0]);
    verifier.begins_after(good[3].head());
    verifier.push(&good[4]);
    let said = heads_event(TRIMMED, &[good[3].head()]);
    verifier.push(&Record::seal("a", Some(&good[4].head()), &said));
    verifier.finish();
    assert_eq!(verifier.faults(), []);
}

/// Cut off or made anew, all of it fits: whoever kept what he saw earlier knows better.
#[test]
fn what_was_seen_earlier_must_still_be_there() {
    let good = chain("a", 5);
    let later = |records: &[Record], seen: &Head| {
        let mut verifier = Verifier::default();
        verifier.was_seen(seen.clone());
        records.iter().for_each(|record| verifier.push(record));
        verifier.finish();
        verifier.faults().to_vec()
    };
    let end = good[4].head();
    assert_eq!(read(&good).ends().collect::<Vec<_>>(), [&end]);
    assert_eq!(later(&good, &end), []);
    assert_eq!(later(&good, &good[2].head()), [], "it went on");
    assert_eq!(later(&good[..3], &end), [Fault::Lost(end.clone())]);
    let mut anew = good[..2].to_vec();
    for number in 0..4 {
        let previous = anew.last().map(Record::head);
        anew.push(Record::seal(
            "a",
            previous.as_ref(),
            &json!({ "number": number }),
        ));
    }
    assert_eq!(faults(&anew), []);
    assert_eq!(later(&anew, &end), [Fault::Altered(anew[4].head())]);
    assert_eq!(
        later(&[], &end),
        [Fault::Lost(end.clone())],
        "all of it is gone"
    );
    let rotated = later(&good[3..], &good[1].head());
    assert_eq!(rotated, [], "it begins behind what was seen");
}

/// Whoever cuts off the end of a chain that nobody has seen cuts off that it had one.
#[test]
fn a_chain_without_its_end_is_open() {
    let event = |kind: &str| serde_json::json!({ "kind": kind });
    let first = Record::seal("a", None, &event("ChainBegin"));
    let second = Record::seal("a", Some(&first.head()), &event("Event"));
    let end = Record::seal("a", Some(&second.head()), &event(ENDED));
    let open = |records: &[&Record]| {
        let mut verifier = Verifier::default();
        records.iter().for_each(|record| verifier.push(record));
        verifier.finish();
        assert_eq!(verifier.fault_count(), 0);
        verifier
            .open()
            .map(|head| head.sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(open(&[&first, &second, &end]), [0; 0]);
    assert_eq!(open(&[&first, &second]), [2]);
    assert_eq!(open(&[&first]), [1]);
}
