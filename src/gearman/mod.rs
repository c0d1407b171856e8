//! A Gearman client over plain `std::net`: every call takes a deadline.
