"""The shared floor: what every room stands on. No engine imports a room."""
