//! Typed clients that apply fitted cost-quality policies to LLM calls.
