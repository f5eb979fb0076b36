use super::*;

fn kinds() -> Kinds {
    all(&Settings {
        ca_sha256: [7; 32],
        work_limit: WORK_LIMIT,
    })
}

#[test]
fn every_kind_is_structural_and_has_its_own_key() {
    let kinds = kinds();
    assert!(kinds.iter().count() > 14);
    for kind in kinds.iter() {
        let info = &kind.info;
        let found = kinds
            .find(&info.group, &info.version, &info.plural)
            .expect("a kind is found by its path");
        assert_eq!(found.key, kind.key);
    }
}
