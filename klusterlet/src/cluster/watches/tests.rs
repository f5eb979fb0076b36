//! What wakes whom.

use kube::core::{DynamicObject, PartialObjectMeta};
use serde_json::json;

use super::{super::known::NAMESPACES, *};

fn became(version: &str) -> Touch {
    Touch::Became(version.to_owned())
}

fn listed(version: &str) -> Touch {
    Touch::Listed(version.to_owned())
}

#[test]
fn only_later_versions_and_deletions_are_news_but_a_list_may_be_of_a_backup() {
    for (touch, seen, expected) in [
        (Touch::Unknown, Some("5"), true),
        (became("5"), None, true),
        (became("5"), Some("5"), false),
        (became("4"), Some("5"), false),
        (became("10"), Some("9"), true),
        (became("b"), Some("a"), true),
        (became("a"), Some("a"), false),
        (listed("5"), Some("5"), false),
        (listed("4"), Some("5"), true),
        (listed("10"), Some("9"), true),
    ] {
        assert_eq!(touch.is_news(seen), expected, "{touch:?} {seen:?}");
    }
}

fn object(version: &str) -> PartialObjectMeta<DynamicObject> {
    let object = json!({"metadata": {"name": "a", "resourceVersion": version}});
    serde_json::from_value(object).unwrap()
}

#[test]
fn an_object_that_was_rolled_back_wakes_its_work_and_so_does_one_that_cannot_be_watched() {
    let resource = Arc::new(NAMESPACES.clone());
    let key = ObjectKey {
        resource: resource.clone(),
        namespace: String::new(),
        name: "a".into(),
    };
    let wake = Arc::new(Wake::default());
    let tracker = Tracker {
        work: "w".into(),
        wake: wake.clone(),
        seen: Some("9".into()),
    };
    let watched = Watched {
        tracked: HashMap::from([((String::new(), "a".to_owned()), vec![tracker])]),
    };
    let mut listed_names = HashSet::new();
    for (event, expected) in [
        (Event::Apply(object("9")), None),
        (Event::Apply(object("8")), None),
        (Event::InitApply(object("9")), None),
        // After a restore the same names have older versions.
        (Event::InitApply(object("3")), Some(listed("3"))),
        (Event::Apply(object("10")), Some(became("10"))),
        (Event::Delete(object("3")), Some(Touch::Unknown)),
    ] {
        let said = format!("{event:?}");
        watched.event(&resource, event, &mut listed_names);
        assert_eq!(wake.take().remove(&key), expected, "{said}");
    }
    watched.touch_all(&resource);
    assert_eq!(wake.take().remove(&key), Some(Touch::Unknown));
}
