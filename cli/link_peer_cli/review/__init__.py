"""Changes before they are made: what a run or another policy would open and close."""
