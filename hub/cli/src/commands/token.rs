//! `koinon token`: the tokens that clusters join with.

use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use koinon_api::{
    JoinToken,
    names::{ClusterName, TokenName},
    token::JoinTokenSpec,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    age,
    args::HubArgs,
    client::{Server, found},
    duration,
    error::{Error, Result},
    output::{self, Output, Table},
};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is shown this once
    Create(CreateArgs),
    /// List the tokens, without their secrets
    List {
        /// How to print them.
        #[arg(long, short, value_enum, default_value = "table")]
        output: Output,
    },
    /// Make tokens useless; clusters that joined with them stay
    Revoke {
        /// Names of the tokens, as `koinon token list` shows them.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<TokenName>,
    },
}

/// What the new token is good for.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The only cluster name that it lets join [default: any free name]
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,

    /// How many clusters may join with it.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: u32,

    /// For how long it is good.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse)]
    ttl: Duration,

    /// Accept a cluster that joins with it at once; without this, `koinon accept` does.
    #[arg(long)]
    auto_accept: bool,

    /// What it is for, shown in the list.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// How to print it: the bare token, or JSON.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) async fn run(hub: &HubArgs, command: TokenCommand) -> Result<()> {
    let server = Server::hub(hub).await?;
    match command {
        TokenCommand::Create(args) => create(&server, args).await,
        TokenCommand::List { output } => list(&server, output).await,
        TokenCommand::Revoke { names } => revoke(&server, &names).await,
    }
}

async fn create(server: &Server, args: CreateArgs) -> Result<()> {
    let request = request(&args, Timestamp::now())?;
    let created = server
        .call(
            "cannot create the token",
            server
                .all::<JoinToken>()
                .create(&PostParams::default(), &request),
        )
        .await?;
    let status = created.status.clone().unwrap_or_default();
    let text = status.token.ok_or_else(|| {
        Error::failed(format!(
            "{} made token {} but did not show it",
            server.name(),
            created.name_any()
        ))
        .next(format!(
            "revoke it with: koinon token revoke {}",
            created.name_any()
        ))
    })?;
    if args.output == Output::Json {
        return output::json(&json!({
            "name": created.name_any(), "token": text, "clusterName": created.spec.cluster_name, "uses": created.spec.uses,
            "autoAccept": created.spec.auto_accept, "expiresAt": created.spec.expires_at,
        }));
    }
    output::line(&text)?;
    let cluster = created.spec.cluster_name.as_deref().unwrap_or("NAME");
    eprintln!();
    eprintln!(
        "This is the only time that the token is shown. It is good until {}. Next:",
        created.spec.expires_at.0
    );
    eprintln!(
        "  koinon join --token TOKEN --hub-agent-address HOST:7444 --cluster {cluster} --member-kubeconfig FILE"
    );
    if !created.spec.auto_accept {
        eprintln!("  koinon accept {cluster}");
    }
    Ok(())
}

fn request(args: &CreateArgs, now: Timestamp) -> Result<JoinToken> {
    let expires_at = now
        .checked_add(args.ttl)
        .map_err(|_| Error::Usage("--ttl is too long".into()))?;
    // Whole seconds, as Kubernetes writes times.
    let expires_at = Timestamp::from_second(expires_at.as_second()).unwrap_or(expires_at);
    let prefix = args.cluster.as_ref().map_or("join", ClusterName::as_str);
    let mut token = JoinToken::new(
        "",
        JoinTokenSpec {
            cluster_name: args.cluster.as_ref().map(ToString::to_string),
            expires_at: Time(expires_at),
            uses: args.uses,
            auto_accept: args.auto_accept,
            description: args.description.clone(),
        },
    );
    token.metadata.name = None;
    // The name is a DNS label, with five characters of the server's at its end.
    token.metadata.generate_name = Some(format!("{}-", &prefix[..prefix.len().min(57)]));
    Ok(token)
}

async fn list(server: &Server, output: Output) -> Result<()> {
    let tokens = server.list(&server.all::<JoinToken>()).await?;
    if output == Output::Json {
        return output::json_list(&tokens);
    }
    table(&tokens, Timestamp::now()).print("No tokens. Make one with: koinon token create")
}

fn table(tokens: &[JoinToken], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "CLUSTER",
        "USES LEFT",
        "AUTO ACCEPT",
        "STATE",
        "EXPIRES IN",
        "AGE",
        "DESCRIPTION",
    ]);
    for token in tokens {
        let left = token.status.as_ref().map_or(0, |status| status.uses_left);
        let state = match () {
            () if token.spec.expires_at.0 <= now => "expired",
            () if left == 0 => "used up",
            () => "good",
        };
        table.row([
            token.name_any(),
            token
                .spec
                .cluster_name
                .clone()
                .unwrap_or_else(|| "any".into()),
            format!("{left}/{}", token.spec.uses),
            token.spec.auto_accept.to_string(),
            state.into(),
            age::until(&token.spec.expires_at, now),
            age::since(token.metadata.creation_timestamp.as_ref(), now),
            token.spec.description.clone().unwrap_or_default(),
        ]);
    }
    table
}

async fn revoke(server: &Server, names: &[TokenName]) -> Result<()> {
    let api = server.all::<JoinToken>();
    for name in names {
        let params = DeleteParams::default();
        let call = async { found(api.delete(name.as_str(), &params).await) };
        match server
            .call(&format!("cannot revoke token {name}"), call)
            .await?
        {
            Some(_) => output::line(&format!("token {name} revoked"))?,
            None => {
                return Err(Error::failed(format!("there is no token {name}"))
                    .next("see which there are: koinon token list"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use koinon_api::token::JoinTokenStatus;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    fn args(cluster: Option<&str>) -> CreateArgs {
        CreateArgs {
            cluster: cluster.map(|name| name.parse().unwrap()),
            uses: 3,
            ttl: Duration::from_secs(3600),
            auto_accept: true,
            description: None,
            output: Output::Table,
        }
    }

    #[test]
    fn a_token_expires_after_its_ttl_to_the_second() {
        let token = request(&args(Some("east")), now()).unwrap();
        assert_eq!(
            serde_json::to_value(&token).unwrap(),
            json!({
                "apiVersion": "koinon.dev/v1alpha1", "kind": "JoinToken", "metadata": { "generateName": "east-" },
                "spec": { "clusterName": "east", "expiresAt": "2026-01-02T04:04:05Z", "uses": 3, "autoAccept": true },
            })
        );
    }

    #[test]
    fn a_generated_name_stays_a_dns_label() {
        let long = "a".repeat(63);
        let token = request(&args(Some(&long)), now()).unwrap();
        assert_eq!(token.metadata.generate_name.unwrap().len() + 5, 63);
        assert_eq!(
            request(&args(None), now())
                .unwrap()
                .metadata
                .generate_name
                .unwrap(),
            "join-"
        );
    }

    #[test]
    fn the_list_says_which_tokens_are_still_good() {
        let token = |name: &str, expires: i64, left: u32| {
            let mut token = request(&args(None), now()).unwrap();
            token.metadata.name = Some(name.into());
            token.spec.expires_at =
                Time(Timestamp::from_second(now().as_second() + expires).unwrap());
            token.status = Some(JoinTokenStatus {
                uses_left: left,
                ..JoinTokenStatus::default()
            });
            token
        };
        let text = table(
            &[token("a", 90, 2), token("b", 90, 0), token("c", -1, 2)],
            now(),
        )
        .render();
        let states: Vec<&str> = text
            .lines()
            .skip(1)
            .map(|line| line.split("   ").nth(4).unwrap().trim())
            .collect();
        assert!(text.contains("90s") && text.contains("2/3"), "{text}");
        for (line, state) in text.lines().skip(1).zip(["good", "used up", "expired"]) {
            assert!(line.contains(state), "{line} {states:?}");
        }
    }
}
