use std::convert::Infallible;

use futures::{FutureExt as _, StreamExt as _, stream};

use super::*;

fn tenant(name: &str) -> Tenant {
    Tenant {
        key: name.into(),
        exempt: false,
    }
}

/// A body of these pieces that then goes on for ever without more.
fn stalled(pieces: Vec<Bytes>) -> Body {
    let pieces = stream::iter(pieces).chain(stream::pending());
    Body::from_stream(pieces.map(Ok::<_, Infallible>))
}

fn room(intake: &Intake) -> usize {
    intake.0.room.available_permits()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up_and_its_room_given_back() {
    let intake = Intake::default();
    let body = stalled(vec![Bytes::from(vec![b'x'; 100 << 10])]);
    let refused = intake.read(&tenant("a"), body, 3 << 20).await.unwrap_err();
    assert_eq!(
        (
            refused.code,
            refused.reason,
            refused.details.unwrap().retry_after_seconds
        ),
        (408, Reason::Timeout, Some(1))
    );
    assert_eq!(room(&intake), ROOM);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_at_a_bearable_pace_is_taken() {
    let intake = Intake::default();
    let pieces = stream::iter(0..100).then(|_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Bytes::from(vec![b'x'; 80 << 10]))
    });
    let body = Body::from_stream(pieces);
    let (bytes, charge) = intake.read(&tenant("a"), body, 16 << 20).await.unwrap();
    assert_eq!(bytes.len(), 100 * (80 << 10));
    assert_eq!(room(&intake), ROOM - 8000, "while the request is answered");
    drop(charge);
    assert_eq!(room(&intake), ROOM);
}

#[tokio::test(start_paused = true)]
async fn one_tenant_uses_up_its_own_share_and_no_more() {
    let intake = Intake::default();
    let hostile = tenant("hostile");
    let mut reading = Vec::new();
    for _ in 0..2000 {
        let body = stalled(vec![Bytes::from(vec![b'x'; 15 << 10])]);
        let mut read = Box::pin(intake.read(&hostile, body, 16 << 10));
        assert!((&mut read).now_or_never().is_none());
        reading.push(read);
        // A task that does not rest is told that nothing is ready.
        tokio::task::yield_now().await;
    }
    assert_eq!(room(&intake), ROOM - SHARE);
    let small = Body::from("{}");
    let (bytes, _charge) = intake.read(&tenant("other"), small, 1024).await.unwrap();
    assert_eq!(&bytes[..], b"{}");
    let more = intake.read(&hostile, Body::from("{}"), 1024).await;
    assert_eq!(more.unwrap_err().code, 429);
}

#[tokio::test]
async fn a_body_of_the_largest_size_fits_and_a_larger_one_is_refused() {
    let intake = Intake::default();
    let limit = SHARE << 10;
    assert!(
        limit >= crate::resources::WORK_LIMIT,
        "every work fits into a share"
    );
    let body = |size: usize| Body::from(vec![b'x'; size]);
    let (bytes, charge) = intake.read(&tenant("a"), body(limit), limit).await.unwrap();
    assert_eq!(bytes.len(), limit);
    drop(charge);
    for body in [body(limit + 1), {
        let pieces = stream::iter([vec![b'x'; limit], vec![b'x'; 1]]);
        Body::from_stream(pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece))))
    }] {
        let refused = intake.read(&tenant("a"), body, limit).await.unwrap_err();
        assert_eq!(refused.code, 413);
    }
    assert_eq!(room(&intake), ROOM);
}
