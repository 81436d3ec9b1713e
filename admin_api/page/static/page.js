// Comfort only: everything but playing works without this file.
"use strict";
