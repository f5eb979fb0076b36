//! An agent that speaks the wire itself: as one who asks to join, and as one who has joined.

use super::*;

/// Who asks to be enrolled.
pub(crate) struct Applicant {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) key: KeyPair,
}

impl Applicant {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            key: KeyPair::generate().unwrap(),
        }
    }

    pub(crate) fn request(&self, token: &str) -> EnrolRequest {
        EnrolRequest {
            token: token.to_owned(),
            cluster_name: self.name.clone(),
            cluster_uid: self.uid.clone(),
            agent_id: "a1".to_owned(),
            csr_der: csr(&self.key, |_| {}).into(),
            agent_version: "test".to_owned(),
        }
    }

    pub(crate) fn credentials(&self, issued: &Issued) -> Credentials {
        Credentials {
            uid: self.uid.clone(),
            chain: issued
                .chain_der
                .iter()
                .map(|der| CertificateDer::from(der.to_vec()))
                .collect(),
            key: self.key.serialize_der(),
        }
    }
}

/// A certificate request that asks for what `change` says.
pub(crate) fn csr(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

/// What an agent proves itself with.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) uid: String,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

/// An agent with an open session.
pub(crate) struct Agent {
    pub(crate) calls: SessionClient<Channel>,
    pub(crate) say: mpsc::Sender<AgentMessage>,
    hear: Streaming<HubMessage>,
}

impl Agent {
    /// Attaches and says hello.
    pub(crate) async fn attach(
        hub: &Hub,
        credentials: &Credentials,
        held: &[Held<'_>],
    ) -> Result<Self, Status> {
        let hello = Hello {
            agent_version: "test".to_owned(),
            cluster_uid: credentials.uid.clone(),
            held_digest: held_digest(held.iter().copied()).to_vec().into(),
            ..Hello::default()
        };
        Self::attach_saying(hub, credentials, agent_message::Body::Hello(hello)).await
    }

    pub(crate) async fn attach_saying(
        hub: &Hub,
        credentials: &Credentials,
        first: agent_message::Body,
    ) -> Result<Self, Status> {
        let mut calls = SessionClient::new(hub.connect(Some(credentials)).await);
        let (say, said) = mpsc::channel(64);
        say.send(AgentMessage { body: Some(first) }).await.unwrap();
        let hear = calls
            .attach(Request::new(ReceiverStream::new(said)))
            .await?
            .into_inner();
        Ok(Self { calls, say, hear })
    }

    /// Attaches and reads the welcome.
    pub(crate) async fn welcomed(
        hub: &Hub,
        credentials: &Credentials,
        held: &[Held<'_>],
    ) -> Result<(Self, Welcome), Status> {
        let mut agent = Self::attach(hub, credentials, held).await?;
        match agent.hear().await? {
            Some(hub_message::Body::Welcome(welcome)) => Ok((agent, welcome)),
            other => panic!("no welcome: {other:?}"),
        }
    }

    pub(crate) async fn say(&self, body: agent_message::Body) {
        self.say
            .send(AgentMessage { body: Some(body) })
            .await
            .expect("the session is open");
    }

    /// Hears the next message; `None` when the hub ended the session in order.
    pub(crate) async fn hear(&mut self) -> Result<Option<hub_message::Body>, Status> {
        let message = timeout(PATIENCE, self.hear.message())
            .await
            .expect("the hub says something")?;
        Ok(message.map(|message| message.body.expect("a message has a body")))
    }

    /// Hears until `pick` finds what it wants; everything else is passed over.
    pub(crate) async fn hear_until<T>(
        &mut self,
        mut pick: impl FnMut(hub_message::Body) -> Option<T>,
    ) -> T {
        loop {
            let body = self
                .hear()
                .await
                .expect("the session lasts")
                .expect("the session lasts");
            if let Some(found) = pick(body) {
                return found;
            }
        }
    }

    /// Hears the next notice of a work.
    pub(crate) async fn notice_of(&mut self, name: &str) -> koinon_proto::v1::WorkNotice {
        self.hear_until(|body| match body {
            hub_message::Body::Notices(notices) => notices
                .notices
                .into_iter()
                .find(|notice| notice.name == name),
            _ => None,
        })
        .await
    }

    /// Hears until the session ends, and how.
    pub(crate) async fn end(&mut self) -> Result<Option<String>, Status> {
        let mut drained = None;
        while let Some(body) = self.hear().await? {
            if let hub_message::Body::Drain(drain) = body {
                drained = Some(drain.reason);
            }
        }
        Ok(drained)
    }

    /// What the hub says before it has answered a heartbeat: everything that it had to say up to then.
    pub(crate) async fn until_granted(&mut self, sequence: u64) -> Vec<hub_message::Body> {
        self.say(agent_message::Body::Heartbeat(
            koinon_proto::v1::Heartbeat { sequence },
        ))
        .await;
        let mut heard = Vec::new();
        loop {
            match self
                .hear()
                .await
                .expect("the session lasts")
                .expect("the session lasts")
            {
                hub_message::Body::Lease(lease) if lease.sequence == sequence => return heard,
                body => heard.push(body),
            }
        }
    }
}
