//! Signals: numbers that say how confident an answer is. Larger always means more confident.
