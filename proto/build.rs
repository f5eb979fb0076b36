//! Compiles the `.proto` files with protox, so no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=koinon");
    let files = protox::compile(
        [
            "koinon/agent/v1/enrolment.proto",
            "koinon/agent/v1/session.proto",
        ],
        ["."],
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::SmallCodec")
        .compile_fds(files)?;
    Ok(())
}
