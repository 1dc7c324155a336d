// What the page does beside being read. Without it everything is there but what one would have to ask for.
"use strict";
