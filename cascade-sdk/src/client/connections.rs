//! The tiers of a client as its configuration, its environment and its application make them: providers connected, judges
//! and verifiers at hand.

use super::builder::{Builder, Replay};
use super::circuit::Circuit;
use super::embeddings::{EmbeddingSetup, EmbeddingSource};
use super::route::TierSetup;
use super::telemetry;
use super::vector_file::VectorFile;
use crate::provider::Provider;
use crate::signal::Scorer;
use cascade_sdk_core::config::{self, SignalKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Providers, each connected once.
pub(super) struct Connections<'b, C> {
    builder: &'b Builder<C>,
    shared: BTreeMap<String, Arc<dyn Provider>>,
    /// One for each tier, shared by its routes.
    circuits: BTreeMap<String, Arc<Circuit>>,
    /// By path and length of their vectors.
    vector_files: BTreeMap<(PathBuf, usize), Arc<VectorFile>>,
}

impl<'b, C> Connections<'b, C> {
    pub(super) fn new(builder: &'b Builder<C>) -> Self {
        Self { builder, shared: BTreeMap::new(), circuits: BTreeMap::new(), vector_files: BTreeMap::new() }
    }

    pub(super) fn tier(&mut self, route: &config::Route, name: &str) -> Result<TierSetup, String> {
        let config = &self.builder.config;
        let missing = |what: &str, name: &str| format!("route `{}`: there is no {what} `{name}`", route.name);
        let mut tier = config.tier(name).ok_or_else(|| missing("tier", name))?.clone();
        let provider = config.provider(&tier.provider).ok_or_else(|| missing("provider", &tier.provider))?;
        let own = self.builder.providers.contains_key(&provider.name);
        let known = telemetry::provider_name(provider.api).filter(|_| !own);
        let provider_name = known.unwrap_or(&provider.name).to_owned();
        let provider = self.provider(route, provider)?;
        let capabilities = provider.capabilities();
        // A provider of the application's own may hold to no schema; its prompt then says what the answer must be.
        tier.json_schema &= capabilities.json_schema;
        let circuit = self.circuits.entry(tier.name.clone());
        let circuit = Arc::clone(circuit.or_insert_with(|| Arc::new(Circuit::new(tier.circuit))));
        Ok(TierSetup { tier, provider, provider_name, capabilities, circuit })
    }

    /// The signals of a route that take more than the answer, and the tiers that judge for them. Where every answer is
    /// replayed, its signals are those of the log.
    pub(super) fn scorers(
        &mut self,
        route: &config::Route,
        tiers: &[TierSetup],
    ) -> Result<(Vec<TierSetup>, Vec<Scorer>), Vec<String>> {
        let (mut judges, mut scorers, mut mistakes) = (Vec::new(), Vec::new(), Vec::new());
        let computed = |signal: &config::SignalSettings| {
            let covered = tiers.iter().filter(|setup| signal.covers(&setup.tier.name));
            covered.into_iter().any(|setup| !setup.capabilities.replays)
        };
        for signal in route.signals.iter().filter(|signal| computed(signal)) {
            if let Some(name) = signal.kind.judge()
                && !judges.iter().any(|setup: &TierSetup| setup.tier.name == name)
            {
                match self.tier(route, name) {
                    Ok(setup) => judges.push(setup),
                    // Without it the scorer would say the same again.
                    Err(mistake) => {
                        mistakes.push(mistake);
                        continue;
                    }
                }
            }
            let judge =
                signal.kind.judge().and_then(|name| judges.iter().find(|setup| setup.tier.name == name));
            let verifier = self.builder.verifiers.get(&signal.name).cloned();
            match Scorer::new(signal, judge.map(|setup| &setup.tier), verifier) {
                Ok(scorer) => scorers.push(scorer),
                Err(mistake) if matches!(signal.kind, SignalKind::Verifier { .. }) => mistakes.push(format!(
                    "route `{}`: {mistake}: give the builder one with `verifier(\"{}\", …)`",
                    route.name, signal.name
                )),
                Err(mistake) => mistakes.push(format!("route `{}`: {mistake}", route.name)),
            }
        }
        if mistakes.is_empty() { Ok((judges, scorers)) } else { Err(mistakes) }
    }

    fn provider(
        &mut self,
        route: &config::Route,
        provider: &config::Provider,
    ) -> Result<Arc<dyn Provider>, String> {
        if let Some(own) = self.builder.providers.get(&provider.name) {
            return Ok(Arc::clone(own));
        }
        let (key, log) = self.log_of(route, provider);
        if let Some(known) = self.shared.get(&key) {
            return Ok(Arc::clone(known));
        }
        let made = match log {
            Some((directory, patterns)) => self.builder.open_log(route, directory, patterns)?,
            None => self.builder.connect(provider)?,
        };
        self.shared.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// What a provider's connection is shared by, and the log that answers in its place, if one does.
    fn log_of<'a>(
        &self,
        route: &'a config::Route,
        provider: &'a config::Provider,
    ) -> (String, Option<(&'a Path, &'a [String])>)
    where
        'b: 'a,
    {
        // Paths of the configuration are relative to it, those of a caller to the working directory.
        let here = self.builder.directory.as_path();
        match (&self.builder.overrides.replay, provider.api) {
            (Some(Replay::At(path)), _) => {
                (format!("replay {path}"), Some((Path::new(""), std::slice::from_ref(path))))
            }
            (None, config::Api::Replay) if !provider.log.is_empty() => {
                (format!("replay of {}", provider.name), Some((here, provider.log.as_slice())))
            }
            (Some(Replay::Own), _) | (None, config::Api::Replay) => {
                (format!("replay for {}", route.name), Some((here, route.log.as_slice())))
            }
            (None, _) => (format!("provider {}", provider.name), None),
        }
    }

    /// The file of word vectors that a route names.
    fn vector_file(&mut self, settings: &config::EmbeddingSettings, file: &str) -> Arc<VectorFile> {
        let elsewhere = self.builder.embedding_files.get(&settings.model);
        let path = elsewhere.cloned().unwrap_or_else(|| self.builder.directory.join(file));
        let name = elsewhere.map_or_else(|| file.to_owned(), |path| path.display().to_string());
        let known = self.vector_files.entry((path.clone(), settings.dimensions));
        Arc::clone(known.or_insert_with(|| Arc::new(VectorFile::new(path, name, settings.dimensions))))
    }

    /// Who makes the embeddings of a route, if it has any: the file that it names, else the log, where one answers all of its
    /// tiers, else the application, else the provider that the route names.
    pub(super) fn embeddings(&mut self, route: &config::Route) -> Result<Option<EmbeddingSetup>, String> {
        let Some(settings) = &route.embedding else { return Ok(None) };
        if let Some(file) = &settings.file {
            let source = EmbeddingSource::File(self.vector_file(settings, file));
            return Ok(Some(EmbeddingSetup::new(settings.clone(), source)));
        }
        let config = &self.builder.config;
        let logs = route.tiers.iter().map(|tier| {
            let provider = config.provider(&config.tier(tier)?.provider)?;
            let own = self.builder.providers.contains_key(&provider.name);
            self.log_of(route, provider).1.filter(|_| !own)
        });
        if let Some(logs) = logs.collect::<Option<Vec<_>>>()
            && let Some((directory, patterns)) = logs.first()
        {
            let source = self.builder.open_vectors(route, directory, patterns)?;
            return Ok(Some(EmbeddingSetup::new(settings.clone(), source)));
        }
        if let Some(own) = self.builder.embedders.get(&settings.model) {
            return Ok(Some(EmbeddingSetup::new(settings.clone(), EmbeddingSource::Own(Arc::clone(own)))));
        }
        // Where the application answers for a provider, nothing goes to its server.
        let server = settings.served.as_ref().map(|served| &served.provider);
        let Some(name) = server.filter(|name| !self.builder.providers.contains_key(*name)) else {
            return Ok(None);
        };
        let provider = config
            .provider(name)
            .ok_or_else(|| format!("route `{}`: there is no provider `{name}`", route.name))?;
        let source = self.builder.connect_embeddings(provider)?;
        Ok(source.map(|source| EmbeddingSetup::new(settings.clone(), source)))
    }
}

impl<C> Builder<C> {
    #[cfg(feature = "http")]
    fn connect(&self, provider: &config::Provider) -> Result<Arc<dyn Provider>, String> {
        let env = |name: &str| std::env::var(name).ok();
        crate::provider::connect(provider, self.overrides.base_url.as_deref(), &env)
            .map_err(|error| error.to_string())
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_self, reason = "with the feature it reads the overrides")]
    fn connect(&self, provider: &config::Provider) -> Result<Arc<dyn Provider>, String> {
        Err(format!(
            "provider `{}`: the feature `http` of cascade-sdk is off: give the builder a provider of your own",
            provider.name
        ))
    }

    #[cfg(feature = "http")]
    fn connect_embeddings(&self, provider: &config::Provider) -> Result<Option<EmbeddingSource>, String> {
        let env = |name: &str| std::env::var(name).ok();
        crate::provider::EmbeddingServer::connect(provider, self.overrides.base_url.as_deref(), &env)
            .map(|server| Some(EmbeddingSource::Server(server)))
            .map_err(|error| error.to_string())
    }

    /// Nobody, so that a policy which reads embeddings asks for an embedder.
    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_self, reason = "with the feature it reads the overrides")]
    #[expect(clippy::unnecessary_wraps, reason = "with the feature a key may be missing")]
    fn connect_embeddings(&self, _: &config::Provider) -> Result<Option<EmbeddingSource>, String> {
        Ok(None)
    }

    #[cfg(feature = "replay")]
    fn open_log(
        &self,
        route: &config::Route,
        directory: &Path,
        patterns: &[String],
    ) -> Result<Arc<dyn Provider>, String> {
        let prices = self.config.tiers.iter().map(|tier| (tier.name.clone(), tier.price)).collect();
        let replay = crate::provider::Replay::open(directory, patterns, prices);
        replay.map(|replay| Arc::new(replay) as _).map_err(|error| format!("route `{}`: {error}", route.name))
    }

    #[cfg(feature = "replay")]
    fn open_vectors(
        &self,
        route: &config::Route,
        directory: &Path,
        patterns: &[String],
    ) -> Result<EmbeddingSource, String> {
        let options = cascade_sdk_core::log::ReadOptions {
            prices: self.config.tiers.iter().map(|tier| (tier.name.clone(), tier.price)).collect(),
            embedding: route.embedding.clone(),
            keep_outputs: false,
            ..Default::default()
        };
        let replay = crate::provider::Replay::read(directory, patterns, &options);
        replay.map(EmbeddingSource::Log).map_err(|error| format!("route `{}`: {error}", route.name))
    }

    #[cfg(not(feature = "replay"))]
    #[expect(clippy::unused_self, reason = "with the feature it reads the prices")]
    fn open_vectors(&self, route: &config::Route, _: &Path, _: &[String]) -> Result<EmbeddingSource, String> {
        Err(format!("route `{}`: the feature `replay` of cascade-sdk is off", route.name))
    }

    #[cfg(not(feature = "replay"))]
    #[expect(clippy::unused_self, reason = "with the feature it reads the prices")]
    fn open_log(&self, route: &config::Route, _: &Path, _: &[String]) -> Result<Arc<dyn Provider>, String> {
        Err(format!("route `{}`: the feature `replay` of cascade-sdk is off", route.name))
    }
}
