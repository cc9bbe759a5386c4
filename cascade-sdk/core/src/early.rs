//! Early escalation: an answer that is not worth its end is given up while it arrives, and only what was generated is paid for.
//! Runtime, replay and fit all watch with [`Watch`].
//!
//! Two rules give an answer up. The **bounds** are safe: no way in which the answer can go on lets its score reach the threshold
//! (see [`crate::signal`]'s `reach`), so the tier that answers is the one that [`judge`](crate::decide::judge) of the whole answer
//! would have led to. The **prefix rule** of a [`Stop`] is fitted: the score of the first tokens is below what the fit found to be
//! worth going on for, so an answer that would have been kept may be given up too; the fit reports how much quality that costs.

use crate::decide::{self, Observation, Why, logistic, map};
use crate::feature::Predictions;
use crate::policy::{AcceptRule, Cut, PrefixCut, Rules, ScoreInput, ScoreSource, Stop, Term};
use crate::signal::{Accumulator, BuiltIn, Reach, TokenLogprob, TokenNumbers};

/// Watches an answer while it arrives.
#[derive(Clone, Debug)]
pub struct Watch<'r> {
    rules: &'r Rules,
    rule: AcceptRule,
    predictions: Option<&'r Predictions>,
    /// The most tokens that the answer can have.
    limit: Option<u64>,
    /// The prefix rule.
    cuts: &'r [PrefixCut],
    sums: Accumulator,
    /// Space for the values of [`Rules::signals`], made once: a rule on prefixes allocates nothing while tokens arrive.
    values: Vec<f64>,
    /// The newest token, which counts once another follows: of a whole answer nothing is given up.
    newest: Option<TokenNumbers>,
    /// A token that spells the end of the sequence, which is one of the answer's only if another follows.
    spelled_end: Option<TokenNumbers>,
}

/// An answer that was given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stopped {
    /// Why.
    pub why: Why,
    /// The most tokens that had arrived, all of which are paid for.
    pub tokens: u64,
}

/// A beginning of an answer.
#[cfg(feature = "fit")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prefix {
    /// Its tokens.
    pub(crate) after: u32,
    /// Its score.
    pub(crate) score: f64,
    /// The most tokens that had arrived when it was scored.
    pub(crate) tokens: u64,
}

impl<'r> Watch<'r> {
    /// Watches an answer of stage `stage` of plan `plan` that can have at most `limit` tokens, where the plan's [`Stop`] does
    /// not say itself how many. `None` where nothing can end it early: a stage that keeps everything or may abstain (which of
    /// two things becomes of a low score only the whole answer says), or a score that no log-probability bounds.
    pub fn new(
        rules: &'r Rules,
        plan: usize,
        stage: usize,
        predictions: Option<&'r Predictions>,
        limit: Option<u64>,
    ) -> Option<Self> {
        let plan = rules.plan(plan)?;
        let rule = plan.stages.get(stage)?.rule.filter(|_| plan.abstain_rule(stage).is_none())?;
        let bounded =
            |signal: usize| rules.signals.get(signal).is_some_and(|name| BuiltIn::parse(name).is_some());
        let useful = rule.at_least != Cut::KEEP_ALL && rules.signals_read(rule).any(bounded);
        let (limit, cuts) = match plan.stops.get(&stage) {
            Some(Stop { most_tokens, cuts }) => (*most_tokens, cuts.as_slice()),
            None => (limit, &[][..]),
        };
        let sums = Accumulator::default();
        useful.then_some(Self {
            rules,
            rule,
            predictions,
            limit,
            cuts,
            sums,
            values: vec![f64::NAN; if cuts.is_empty() { 0 } else { rules.signals.len() }],
            newest: None,
            spelled_end: None,
        })
    }

    /// Takes the next token, and says why the answer is given up, if it is.
    ///
    /// Entries that end the sequence are no tokens of the answer, and nothing is known by them: the answer is whole.
    pub fn push(&mut self, token: &TokenLogprob) -> Option<Why> {
        if token.ends_sequence() {
            return None;
        }
        let held = self.spelled_end.take().and_then(|held| self.advance(held));
        if token.spells_end() {
            self.spelled_end = Some(TokenNumbers::of(token));
            return held;
        }
        held.or_else(|| self.advance(TokenNumbers::of(token)))
    }

    /// The same for a token given in numbers.
    pub fn push_numbers(&mut self, token: &TokenNumbers) -> Option<Why> {
        self.advance(*token)
    }

    /// Lets a whole answer arrive token by token, as it would from a server that sends them one at a time. `None` if it comes to
    /// its end.
    pub fn run(mut self, tokens: &[TokenNumbers]) -> Option<Stopped> {
        if !self.can_read(tokens) {
            return None;
        }
        let mut arrived = 0;
        tokens.iter().find_map(|token| {
            arrived += u64::from(token.tokens);
            self.advance(*token).map(|why| Stopped { why, tokens: arrived })
        })
    }

    /// The scores of the prefixes of these lengths, as far as the answer arrives and is not given up.
    #[cfg(feature = "fit")]
    pub(crate) fn prefixes(mut self, tokens: &[TokenNumbers], lengths: &[u32]) -> Vec<Prefix> {
        let (mut arrived, mut found) = (0, Vec::new());
        if !self.can_read(tokens) {
            return found;
        }
        for token in tokens {
            arrived += u64::from(token.tokens);
            let (before, given_up) = (self.sums.tokens(), self.advance(*token));
            if given_up.is_some() {
                break;
            }
            let scored = self.sums.tokens();
            let length = lengths.iter().find(|length| scored > before && **length as usize == scored);
            if let Some(&after) = length {
                self.values.resize(self.rules.signals.len(), f64::NAN);
                let score = self.running_score();
                found.push(Prefix { after, score, tokens: arrived });
            }
        }
        found
    }

    /// False for an answer whose tokens were recorded without the alternatives that the score needs: nobody knows how it would
    /// have looked while it arrived.
    fn can_read(&self, tokens: &[TokenNumbers]) -> bool {
        let needs = |signal: usize| {
            let name = self.rules.signals.get(signal);
            name.and_then(|name| BuiltIn::parse(name)).is_some_and(BuiltIn::needs_alternatives)
        };
        !self.rules.signals_read(self.rule).any(needs) || tokens.iter().any(|token| !token.margin.is_nan())
    }

    fn advance(&mut self, next: TokenNumbers) -> Option<Why> {
        let counted = self.newest.replace(next);
        if let Some(before) = &counted {
            self.sums.add(before);
        }
        self.hopeless().or_else(|| counted.and_then(|_| self.unpromising()))
    }

    /// Why the prefix rule gives the answer up now, if it does. A running score that is missing says nothing.
    fn unpromising(&mut self) -> Option<Why> {
        let cut = *self.cuts.iter().find(|cut| cut.after as usize == self.sums.tokens())?;
        let score = self.running_score();
        let (below, tokens) = (cut.below, cut.after);
        (score < below).then_some(Why::Unpromising { score, below, tokens })
    }

    /// The score of the tokens so far, as if they were the whole answer; NaN where it is missing.
    fn running_score(&mut self) -> f64 {
        let known = self.sums.values();
        for (value, name) in self.values.iter_mut().zip(&self.rules.signals) {
            *value = BuiltIn::parse(name).map_or(f64::NAN, |signal| known.get(signal));
        }
        let observation = Observation { failed: false, signals: &self.values, predictions: self.predictions };
        decide::read(self.rules, self.rule.score, &observation)
    }

    fn hopeless(&self) -> Option<Why> {
        let at_least = self.rule.at_least.0;
        match self.reach_of_score() {
            Reach::Missing => Some(Why::MissingSignal),
            Reach::Between { most, .. } => {
                (most < at_least).then_some(Why::OutOfReach { at_most: most, at_least })
            }
        }
    }

    fn reach_of_score(&self) -> Reach {
        match self.rule.score {
            ScoreSource::Signal(signal) => self.reach(signal),
            ScoreSource::Score(score) => {
                let Some(score) = self.rules.scores.get(score) else { return Reach::Missing };
                let mut most = score.intercept;
                for term in &score.terms {
                    match self.largest(term) {
                        Some(value) => most += value,
                        None => return Reach::Missing,
                    }
                }
                // Wider than the rounding of the sum and of the exponential.
                most += 1e-9 * (1.0 + most.abs());
                let good = logistic(most) + 1e-12;
                let most = match score.per_cost_of {
                    None => good,
                    Some(tier) => {
                        let cost = self.prediction(|known| &known.cost_usd, tier);
                        let gain = 2.0 * good - 1.0;
                        // Of a price that is not positive nothing is concluded.
                        if cost > 0.0 { gain / cost + 1e-9 * (gain / cost).abs() } else { f64::INFINITY }
                    }
                };
                Reach::Between {
                    least: f64::NEG_INFINITY,
                    most: if most.is_nan() { f64::INFINITY } else { most },
                }
            }
        }
    }

    fn reach(&self, signal: usize) -> Reach {
        let built_in = self.rules.signals.get(signal).and_then(|name| BuiltIn::parse(name));
        built_in.map_or(Reach::ANYTHING, |signal| self.sums.reach(signal, self.limit))
    }

    fn prediction(&self, values: impl Fn(&Predictions) -> &Vec<f64>, tier: usize) -> f64 {
        self.predictions.and_then(|known| values(known).get(tier).copied()).unwrap_or(f64::NAN)
    }

    /// The largest value that a term can still take; `None` if its input will be missing. A piecewise-linear map takes its
    /// extremes at the ends of an interval or at knots within it.
    fn largest(&self, term: &Term) -> Option<f64> {
        let (least, most) = match term.input {
            ScoreInput::Prediction(tier) => {
                let value = self.prediction(|known| &known.log_odds, tier);
                (value, value)
            }
            ScoreInput::Signal(signal) => match self.reach(signal) {
                Reach::Missing => return None,
                Reach::Between { least, most } => (least, most),
            },
        };
        let knots = term.knots.iter().map(|knot| knot.0).filter(|x| least < *x && *x < most);
        let values = knots.chain([least, most]).map(|x| term.weight * map(term, x));
        // 0 · ∞ is no bound.
        Some(values.fold(
            f64::NEG_INFINITY,
            |most, value| if value.is_nan() { f64::INFINITY } else { most.max(value) },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Decision, judge};
    use crate::policy::{Plan, Stage};
    use crate::signal::built_in;

    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn token(state: &mut u64, level: f64) -> TokenLogprob {
        let first = -level * noise(state);
        let text: &[u8] = if noise(state) < 0.1 { "éé".as_bytes() } else { b"ab" };
        TokenLogprob { bytes: Some(text.into()), logprob: first, alternatives: vec![first, first - 0.3] }
    }

    fn rules(state: &mut u64, signal: BuiltIn) -> Rules {
        let middle = if signal.needs_alternatives() { 0.3 } else { -0.5 };
        let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(middle) };
        let stages = vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }];
        let mut plan = Plan::new(stages);
        let cuts = [3, 7].map(|after| PrefixCut { after, below: middle * (0.5 + noise(state)) });
        plan.stops.insert(0, Stop { most_tokens: Some(40), cuts: cuts.to_vec() });
        Rules { signals: vec![signal.name().into()], plans: vec![plan], ..Rules::default() }
    }

    #[test]
    fn what_was_logged_is_given_up_where_what_arrived_was() {
        let (mut state, mut unpromising, mut hopeless) = (3, 0, 0);
        for case in 0..600 {
            let signal = BuiltIn::ALL[case % BuiltIn::ALL.len()];
            let rules = rules(&mut state, signal);
            let level = 2.0 * noise(&mut state);
            let mut tokens: Vec<_> = (0..=case % 30).map(|_| token(&mut state, level)).collect();
            let end = |bytes: &[u8]| TokenLogprob {
                bytes: Some(bytes.into()),
                logprob: -0.1,
                alternatives: vec![-0.1, -3.0],
            };
            // Servers end an answer with an empty entry, with one that spells the end, or with neither; one that is spelled
            // out in between is text.
            match case % 5 {
                0 => tokens.push(end(b"")),
                1 => tokens.push(end(b"</s>")),
                2 => tokens.insert(tokens.len() / 2, end(b"</s>")),
                _ => {}
            }
            let mut watch = Watch::new(&rules, 0, 0, None, None).unwrap();
            let mut arrived = 0;
            let pushed = tokens.iter().find_map(|token| {
                arrived += token.most_tokens();
                watch.push(token).map(|why| Stopped { why, tokens: arrived })
            });
            let logged = TokenNumbers::of_answer(&tokens);
            let ran = Watch::new(&rules, 0, 0, None, None).unwrap().run(&logged);
            assert_eq!(ran.map(|stopped| stopped.why), pushed.map(|stopped| stopped.why));
            // Live, what looks like the end counts one token later, and that one has arrived as well.
            let late = u64::from(case % 5 == 2) * 4;
            let [ran, pushed_at] = [ran, pushed].map(|stopped| stopped.map_or(0, |stopped| stopped.tokens));
            assert!((ran..=ran + late).contains(&pushed_at), "{ran} {pushed_at}");
            match pushed.map(|stopped| stopped.why) {
                Some(Why::Unpromising { score, below, tokens: scored }) => {
                    let prefix = &tokens[..scored as usize];
                    // By itself, a prefix with such a token at its end would be read as a whole answer.
                    let whole = prefix.last().is_some_and(TokenLogprob::spells_end);
                    let value = built_in(prefix).get(signal);
                    assert!(score < below && (whole || (value - score).abs() < 1e-12), "{value} {score}");
                    unpromising += 1;
                }
                Some(_) => hopeless += 1,
                None => {}
            }
            // The bounds alone never give up what would be kept.
            let mut bounds = rules.clone();
            bounds.plans[0].stops.clear();
            if Watch::new(&bounds, 0, 0, None, Some(40)).unwrap().run(&logged).is_some() {
                let values = [built_in(&tokens).get(signal)];
                let seen = Observation { failed: false, signals: &values, predictions: None };
                assert!(matches!(judge(&bounds, 0, 0, &seen), Decision::Escalate(_)));
            }
        }
        assert!(unpromising > 50 && hopeless > 20, "{unpromising} {hopeless}");
    }

    #[test]
    fn a_log_without_alternatives_does_not_say_how_a_margin_looked() {
        let mut state = 5;
        let rules = rules(&mut state, BuiltIn::MeanMargin);
        let bare = TokenLogprob { alternatives: Vec::new(), ..token(&mut state, 1.0) };
        let watch = || Watch::new(&rules, 0, 0, None, None).unwrap();
        assert_eq!(watch().run(&TokenNumbers::of_answer(&vec![bare.clone(); 9])), None);
        // A server that sends none leaves the score missing.
        let mut live = watch();
        assert_eq!(live.push(&bare).or(live.push(&bare)), Some(Why::MissingSignal));
    }
}
