//! Quality, size, speed and memory of compressed models, and the report
